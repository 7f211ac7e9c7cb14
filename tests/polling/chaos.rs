//! Clients that do what is allowed in any order: polls, says things, probes, lets probes die, and upgrades or not. Everything that it says comes
//! back once and in order, whatever carries it.

use crate::bed::{Bed, Layout, Setup, on_cores};
use crate::session::Session;
use crate::wire::{Frame, Wire};

/// Marsaglia's xorshift64*: the same seed gives the same run.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % bound
    }
}

struct Chaos<'b> {
    random: Random,
    session: Session<'b>,
    said: usize,
    heard: Vec<String>,
    /// A GET is under way.
    polled: bool,
    /// A WebSocket that names the session, and whether it was answered.
    probe: Option<(Wire, bool)>,
}

impl<'b> Chaos<'b> {
    fn new(bed: &'b Bed, layout: Layout, seed: u64) -> Chaos<'b> {
        Chaos {
            random: Random::new(seed),
            session: Session::open_on(bed, layout),
            said: 0,
            heard: Vec::new(),
            polled: false,
            probe: None,
        }
    }

    /// The next packets to say.
    fn payload(&mut self) -> String {
        let count = 1 + self.random.below(4) as usize;
        let packets: Vec<String> = (0..count).map(|n| format!("4{}", self.said + n)).collect();
        self.said += count;
        packets.join("\x1e")
    }

    fn take(&mut self, payload: &str) {
        let packets = payload.split('\x1e').filter(|packet| *packet != "6");
        self.heard.extend(packets.map(str::to_owned));
    }

    /// Something waits for a GET, or none is held now.
    fn is_answered(&self) -> bool {
        self.said > self.heard.len() || matches!(self.probe, Some((_, true)))
    }

    fn end_poll(&mut self) {
        let payload = self.session.end_poll();
        self.polled = false;
        self.take(&payload);
    }

    fn step(&mut self) {
        match self.random.below(8) {
            0..=2 => {
                let payload = self.payload();
                self.session.push(payload);
            }
            3 if !self.polled => {
                self.session.begin_poll();
                self.polled = true;
            }
            4 | 5 if self.polled && self.is_answered() => self.end_poll(),
            6 => self.step_probe(),
            7 => self.kill_probe(),
            _ => {}
        }
    }

    fn step_probe(&mut self) {
        match &mut self.probe {
            None => self.probe = Some((self.session.knock(), false)),
            Some((websocket, answered)) => {
                websocket.say("2probe");
                match websocket.hear() {
                    Frame::Text(text) => {
                        assert_eq!(text, "3probe");
                        *answered = true;
                    }
                    // The one before it had not been seen to be over yet.
                    Frame::Close(_) | Frame::End => self.probe = None,
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn kill_probe(&mut self) {
        let Some((mut websocket, _)) = self.probe.take() else {
            return;
        };
        match self.random.below(3) {
            0 => drop(websocket),
            1 => websocket.reset(),
            _ => {
                websocket.try_send(crate::wire::frame(crate::wire::TEXT, b"4nonsense"));
                websocket.hear_end();
            }
        }
    }

    /// Takes over, if there is a probe that is good for it.
    fn upgrade(&mut self) -> Option<Wire> {
        let (mut websocket, _) = self.probe.take().filter(|(_, answered)| *answered)?;
        websocket.say("5");
        if self.polled {
            let answer = self.session.get.response();
            // `1`: the transport that it was sent to has ended.
            if answer.status == 200 && answer.body != b"1" {
                self.take(answer.text());
            }
        }
        for _ in 0..5 {
            let packets = self.payload();
            packets
                .split('\x1e')
                .for_each(|packet| websocket.say(packet));
        }
        while self.heard.len() < self.said {
            let Frame::Text(text) = websocket.hear() else {
                panic!("a text");
            };
            self.heard.push(text);
        }
        Some(websocket)
    }

    fn end(mut self, what: &str) {
        match self.upgrade() {
            Some(mut websocket) => self.session.echoes_on(&mut websocket),
            None => {
                let payload = self.payload();
                self.session.push(payload);
                while self.heard.len() < self.said {
                    if !self.polled {
                        self.session.begin_poll();
                    }
                    self.end_poll();
                }
            }
        }
        let said: Vec<String> = (0..self.said).map(|n| format!("4{n}")).collect();
        assert_eq!(self.heard, said, "{what}");
    }
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order_whatever_the_client_does() {
    on_cores(&Setup::default(), |bed, layout| {
        for seed in 0..40 {
            let mut chaos = Chaos::new(bed, layout, seed);
            let steps = 5 + chaos.random.below(40);
            for _ in 0..steps {
                chaos.step();
            }
            chaos.end(&format!("seed {seed} of {layout:?}"));
        }
    });
}
