//! What a message costs the server: measured over one window, summed up over the rounds.

use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::counters::Counters;
use crate::server::Server;

pub(crate) const HEADING: &str = "case             side     CPU µs/msg (min)  of it user   kins (user)      msg/s   busy    p50 µs";
const TICK_US: f64 = 10_000.0;

/// One window.
pub(crate) struct Cost {
    cpu_us: f64,
    user_us: f64,
    /// Thousand instructions, user and kernel.
    kins: Option<[f64; 2]>,
    rate: f64,
    p50_us: f64,
}

/// The number after `"name":` in a line of flat JSON.
fn number(line: &str, name: &str) -> Option<f64> {
    let rest = line.split_once(&format!("\"{name}\":"))?.1;
    rest.split([',', '}']).next()?.parse().ok()
}

/// Runs `load` and takes the server's meters at the beginning and the end of its window.
pub(crate) fn measure(server: &Server, load: &mut Command) -> io::Result<Cost> {
    let mut counters = Counters::attach(server.pid())?;
    let mut load = load.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let Some(output) = load.stdout.take() else {
        return Err(io::Error::other("no pipe from the load"));
    };
    let mut meters = Vec::new();
    let mut result = String::new();
    for (line, command) in BufReader::new(output).lines().zip(["enable", "disable"]) {
        meters.push(server.cpu_time()?);
        if let Some(counters) = &mut counters {
            counters.tell(command)?;
        }
        result = line?;
    }
    let status = load.wait()?;
    let counted = counters.map(Counters::finish).transpose()?.flatten();
    let [before, after] = meters[..] else {
        return Err(io::Error::other(format!("the load ended early: {status}")));
    };
    let field = |name| {
        number(&result, name).ok_or_else(|| io::Error::other(format!("no {name} in {result}")))
    };
    let messages = field("messages")?.max(1.0);
    Ok(Cost {
        cpu_us: (after.total_ns - before.total_ns) as f64 / 1e3 / messages,
        user_us: (after.user_ticks - before.user_ticks) as f64 * TICK_US / messages,
        kins: counted.map(|counts| counts.map(|count| count / 1e3 / messages)),
        rate: field("rate")?,
        p50_us: field("p50_us")?,
    })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.as_slice() {
        [] => f64::NAN,
        all if all.len() % 2 == 1 => all[middle],
        all => (all[middle - 1] + all[middle]) / 2.0,
    }
}

fn print_side(case: &str, side: &str, rounds: &[Cost]) {
    let least = rounds
        .iter()
        .map(|cost| cost.cpu_us)
        .fold(f64::INFINITY, f64::min);
    let counted = || rounds.iter().filter_map(|cost| cost.kins);
    let kins = match counted().next() {
        Some(_) => format!(
            "{:.2} ({:.2})",
            median(counted().map(|[u, k]| u + k)),
            median(counted().map(|[u, _]| u))
        ),
        None => "–".to_owned(),
    };
    let middle = |figure: fn(&Cost) -> f64| median(rounds.iter().map(figure));
    println!(
        "{case:<16} {side:<8} {:>8.3} ({least:>6.3}) {:>11.3} {kins:>13} {:>10.0} {:>5.0}% {:>9.1}",
        middle(|cost| cost.cpu_us),
        middle(|cost| cost.user_us),
        middle(|cost| cost.rate),
        middle(|cost| cost.cpu_us * cost.rate / 1e4),
        middle(|cost| cost.p50_us),
    );
}

/// Prints both sides and the ratio: the median over the rounds of subject to base within one round, since the host has
/// phases and only neighbours in time may be compared.
pub(crate) fn print(case: &str, name: &str, base: &[Cost], subject: &[Cost]) {
    print_side(case, name, base);
    print_side(case, "subject", subject);
    let pairs = || base.iter().zip(subject);
    let cpu = median(pairs().map(|(base, subject)| subject.cpu_us / base.cpu_us));
    let sum = |cost: &Cost| cost.kins.map(|[user, kernel]| user + kernel);
    let kins = median(pairs().filter_map(|(base, subject)| Some(sum(subject)? / sum(base)?)));
    let kins = if kins.is_nan() {
        "–".to_owned()
    } else {
        format!("{kins:.3}")
    };
    println!("{case:<16} subject/{name}: CPU {cpu:.3}, instructions {kins}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_nothing() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert!(median(std::iter::empty()).is_nan());
    }

    #[test]
    fn reads_flat_json() {
        let line = r#"{"scenario":"ws-echo","messages":12,"p50_us":3.5}"#;
        assert_eq!(number(line, "messages"), Some(12.0));
        assert_eq!(number(line, "p50_us"), Some(3.5));
        assert_eq!(number(line, "rate"), None);
    }
}
