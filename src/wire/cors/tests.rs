use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::wire::xorshift::Xorshift;

/// What the package cors 2.8.6 does, as `tests/vectors/record.mjs` recorded it.
const VECTORS: &str = include_str!("vectors.json");

fn strings(value: &Value) -> Vec<String> {
    let texts = value.as_array().unwrap().iter();
    texts.map(|one| one.as_str().unwrap().to_owned()).collect()
}

fn origin_of(recorded: &Value) -> Origin {
    match recorded {
        Value::Null => Origin::default(),
        Value::Bool(true) => Origin::Reflect,
        Value::String(origin) => Origin::Fixed(origin.clone()),
        Value::Array(_) => Origin::List(strings(recorded)),
        // The one expression that was recorded.
        Value::Object(expression) => {
            assert_eq!(expression["regexp"], r"^https://[ab]\.example$");
            Origin::Predicate(Arc::new(|origin| {
                ["https://a.example", "https://b.example"].contains(&origin)
            }))
        }
        other => panic!("{other}"),
    }
}

fn cors_of(options: &Value) -> Cors {
    let defaults = Cors::default();
    let list = |name: &str| options.get(name).map(strings);
    Cors {
        origin: origin_of(&options["origin"]),
        methods: list("methods").unwrap_or(defaults.methods),
        allowed_headers: list("allowedHeaders"),
        exposed_headers: list("exposedHeaders").unwrap_or_default(),
        credentials: options["credentials"].as_bool().unwrap_or(false),
        max_age_s: options["maxAge"].as_u64(),
        preflight_continue: options["preflightContinue"].as_bool().unwrap_or(false),
        options_status: options["optionsSuccessStatus"]
            .as_u64()
            .map_or(204, |status| status as u16),
    }
}

#[test]
fn every_request_gets_the_headers_of_the_reference() {
    let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.len() >= 70);
    for vector in vectors {
        let cors = cors_of(&vector["options"]);
        assert_eq!(cors.check(), Ok(()), "{vector}");
        let header = |name: &str| vector["headers"][name].as_str().map(str::as_bytes);
        let answer = cors.answer(&Asked {
            method: vector["method"].as_str().unwrap(),
            origin: header("origin"),
            request_headers: header("access-control-request-headers"),
        });
        let mut expected: Vec<Vec<String>> = vector["set"]
            .as_array()
            .unwrap()
            .iter()
            .map(strings)
            .collect();
        let mut found: Vec<Vec<String>> = answer
            .headers
            .iter()
            .map(|(name, value)| {
                vec![
                    (*name).to_owned(),
                    String::from_utf8(value.to_vec()).unwrap(),
                ]
            })
            .collect();
        // The order of lines of different names means nothing (RFC 9110 §5.3).
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{vector}");
        assert_eq!(
            answer.ends_with.map(u64::from),
            vector["status"].as_u64(),
            "{vector}"
        );
    }
}

fn asked(origin: Option<&[u8]>) -> Asked<'_> {
    Asked {
        method: "GET",
        origin,
        request_headers: None,
    }
}

#[test]
fn a_predicate_is_asked_about_origins_alone() {
    let all = Cors {
        origin: Origin::Predicate(Arc::new(|origin| {
            assert_eq!(origin, "null");
            true
        })),
        ..Cors::default()
    };
    let vary = ("Vary", Cow::Borrowed(&b"Origin"[..]));
    for origin in [None, Some(&b""[..]), Some(b"\xFF")] {
        assert_eq!(
            all.answer(&asked(origin)).headers,
            std::slice::from_ref(&vary)
        );
    }
    let told = ("Access-Control-Allow-Origin", Cow::Borrowed(&b"null"[..]));
    assert_eq!(all.answer(&asked(Some(b"null"))).headers, [told, vary]);
}

#[test]
fn nothing_that_was_sent_becomes_a_line_of_its_own() {
    let reflect = Cors {
        origin: Origin::Reflect,
        ..Cors::default()
    };
    let answer = reflect.answer(&Asked {
        method: "OPTIONS",
        origin: Some(b"https://a.example\r\nSet-Cookie: a=b"),
        request_headers: Some(b"x-one\nSet-Cookie: a=b"),
    });
    let names: Vec<&str> = answer.headers.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        ["Vary", "Access-Control-Allow-Methods", "Content-Length"]
    );
}

#[test]
fn what_cannot_be_sent_is_named() {
    let text = |text: &str| text.to_owned();
    let base = Cors::default;
    let fixed = |origin: &str| Origin::Fixed(origin.to_owned());
    let table = [
        (
            Cors {
                origin: fixed(""),
                ..base()
            },
            CorsError::Origin,
        ),
        (
            Cors {
                origin: fixed("https://a\r\n"),
                ..base()
            },
            CorsError::Origin,
        ),
        (
            Cors {
                origin: Origin::List(vec![text("https://a"), text("")]),
                ..base()
            },
            CorsError::Origin,
        ),
        (
            Cors {
                origin: Origin::List(vec![text("\0")]),
                ..base()
            },
            CorsError::Origin,
        ),
        (
            Cors {
                methods: vec![text("GET"), text("PO ST")],
                ..base()
            },
            CorsError::Methods,
        ),
        (
            Cors {
                methods: vec![text("")],
                ..base()
            },
            CorsError::Methods,
        ),
        (
            Cors {
                allowed_headers: Some(vec![text("x,y")]),
                ..base()
            },
            CorsError::AllowedHeaders,
        ),
        (
            Cors {
                exposed_headers: vec![text("x:y")],
                ..base()
            },
            CorsError::ExposedHeaders,
        ),
        (
            Cors {
                options_status: 199,
                ..base()
            },
            CorsError::OptionsStatus,
        ),
        (
            Cors {
                options_status: 300,
                ..base()
            },
            CorsError::OptionsStatus,
        ),
    ];
    for (cors, error) in table {
        assert_eq!(cors.check(), Err(error), "{cors:?}");
    }
    assert!(CorsError::Methods.to_string().contains("method"));
}

#[test]
fn what_the_package_takes_for_any_header_or_method_is_no_error() {
    let star = vec!["*".to_owned()];
    let cors = Cors {
        origin: Origin::Fixed("*".to_owned()),
        methods: star.clone(),
        allowed_headers: Some(star.clone()),
        exposed_headers: star,
        options_status: 299,
        ..Cors::default()
    };
    assert_eq!(cors.check(), Ok(()));
}

/// Whatever is asked: each header once, each a line, and an origin is told only if it is allowed.
pub(crate) fn fuzz_cors(method: &str, origin: &[u8], request_headers: &[u8]) {
    const KNOWN: &str = "https://a.example";
    let origins = [
        Origin::Any,
        Origin::Reflect,
        Origin::Fixed(KNOWN.to_owned()),
        Origin::List(vec![KNOWN.to_owned()]),
        Origin::Predicate(Arc::new(|origin| origin == KNOWN)),
    ];
    for (at, allowed) in origins.into_iter().enumerate() {
        let cors = Cors {
            origin: allowed,
            credentials: true,
            max_age_s: Some(5),
            ..Cors::default()
        };
        let answer = cors.answer(&Asked {
            method,
            origin: Some(origin),
            request_headers: Some(request_headers),
        });
        let mut names: Vec<&str> = answer.headers.iter().map(|(name, _)| *name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{answer:?}");
        for (name, value) in &answer.headers {
            assert!(!value.is_empty() && is_value(value), "{answer:?}");
            if *name == "Access-Control-Allow-Origin" {
                let expected: &[u8] = match at {
                    0 => b"*",
                    1 => origin,
                    _ => KNOWN.as_bytes(),
                };
                assert_eq!(&**value, expected);
                assert!(at < 3 || origin == KNOWN.as_bytes());
            }
        }
        let preflight = method.eq_ignore_ascii_case("options");
        assert_eq!(answer.ends_with, preflight.then_some(204));
        let is_varied = names.contains(&"Vary");
        assert!(is_varied || (at == 0 && !preflight));
    }
}

#[test]
fn damaged_origins_hold_the_rules_at_every_cut() {
    for seed in 0..1000 {
        let mut random = Xorshift::new(seed);
        let mut bytes = b"https://a.example".to_vec();
        random.mutate(&mut bytes);
        let method = ["GET", "OPTIONS", "options"][seed as usize % 3];
        for cut in 0..=bytes.len() {
            let cut = &bytes[..cut];
            let result = std::panic::catch_unwind(|| fuzz_cors(method, cut, cut));
            assert!(
                result.is_ok(),
                "seed {seed}: {}",
                String::from_utf8_lossy(cut)
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(10), ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_requests(
        method in "(OPTIONS|GET|options|[A-Z]{0,8})",
        origin in prop::collection::vec(any::<u8>(), 0..24),
        request_headers in prop::collection::vec(any::<u8>(), 0..24),
    ) {
        fuzz_cors(&method, &origin, &request_headers);
    }
}
