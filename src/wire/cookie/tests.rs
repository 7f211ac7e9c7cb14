use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::wire::xorshift::Xorshift;

/// What the package cookie 0.7.2 writes, as `tests/vectors/record.mjs` recorded it.
const VECTORS: &str = include_str!("vectors.json");

/// A cookie with nothing but a name and a value.
fn bare() -> Cookie {
    Cookie {
        path: None,
        http_only: false,
        same_site: None,
        ..Cookie::default()
    }
}

fn cookie_of(options: &Value) -> Cookie {
    let text = |name: &str| options[name].as_str().map(str::to_owned);
    let flag = |name: &str| options[name].as_bool().unwrap_or(false);
    Cookie {
        name: text("name").unwrap_or_else(|| "io".to_owned()),
        path: text("path"),
        domain: text("domain"),
        max_age_s: options["maxAge"].as_i64(),
        expires: text("expires"),
        http_only: flag("httpOnly"),
        secure: flag("secure"),
        partitioned: flag("partitioned"),
        same_site: text("sameSite").map(|name| match name.as_str() {
            "strict" => SameSite::Strict,
            "lax" => SameSite::Lax,
            "none" => SameSite::None,
            other => panic!("{other}"),
        }),
        priority: text("priority").map(|name| match name.as_str() {
            "low" => Priority::Low,
            "medium" => Priority::Medium,
            "high" => Priority::High,
            other => panic!("{other}"),
        }),
    }
}

#[test]
fn cookies_are_written_and_refused_as_by_the_reference() {
    let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.len() >= 31);
    for vector in vectors {
        let cookie = cookie_of(&vector["options"]);
        match (&vector["header"], &vector["refused"]) {
            (Value::String(header), Value::Null) => {
                assert_eq!(cookie.check(), Ok(()), "{vector}");
                let value = vector["value"].as_str().unwrap();
                assert_eq!(cookie.set_cookie(value), *header, "{vector}");
            }
            (Value::Null, Value::String(refused)) => {
                let field = cookie.check().unwrap_err().field();
                let named = refused.split(' ').nth(1).unwrap();
                assert_eq!(field, named, "{vector}");
            }
            _ => panic!("{vector}"),
        }
    }
}

#[test]
fn the_default_is_what_engine_io_for_node_sends() {
    assert_eq!(
        Cookie::default().set_cookie("Lbo5JLzTotvW3g2LAAAA"),
        "io=Lbo5JLzTotvW3g2LAAAA; Path=/; HttpOnly; SameSite=Lax"
    );
    assert_eq!(Cookie::default().check(), Ok(()));
}

#[test]
fn an_empty_attribute_is_left_out() {
    let empty = || Some(String::new());
    let cookie = Cookie {
        path: empty(),
        domain: empty(),
        expires: empty(),
        ..bare()
    };
    assert_eq!(cookie.check(), Ok(()));
    assert_eq!(cookie.set_cookie("a"), "io=a");
}

#[test]
fn a_date_has_the_form_that_http_wants() {
    let check = |expires: &str| {
        let expires = Some(expires.to_owned());
        Cookie { expires, ..bare() }.check()
    };
    let good = "Wed, 21 Oct 2015 07:28:00 GMT";
    for date in [
        good,
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:60 GMT",
    ] {
        assert_eq!(check(date), Ok(()), "{date}");
    }
    for date in [
        "Wednesday, 21-Oct-15 07:28:00 GMT",
        "Wed Oct 21 07:28:00 2015",
        "wed, 21 Oct 2015 07:28:00 GMT",
        "Wed, 21 oct 2015 07:28:00 GMT",
        "Wed, 1 Oct 2015 07:28:00 GMT",
        "Wed, 00 Oct 2015 07:28:00 GMT",
        "Wed, 32 Oct 2015 07:28:00 GMT",
        "Wed, +1 Oct 2015 07:28:00 GMT",
        "Wed, 21 Oct 2015 24:28:00 GMT",
        "Wed, 21 Oct 2015 07:60:00 GMT",
        "Wed, 21 Oct 2015 07:28:61 GMT",
        "Wed, 21 Oct 2015 07:28 GMT",
        "Wed, 21 Oct 2015 07:28:00 UTC",
        "Wed, 21 Oct 2015 07:28:00 GMT; Secure",
        "Wed, 21 Oct 2015  07:28:00 GMT",
        "2015-10-21T07:28:00Z",
    ] {
        assert_eq!(check(date), Err(CookieError::Expires), "{date}");
    }
    for cut in 1..good.len() {
        assert_eq!(check(&good[..cut]), Err(CookieError::Expires));
    }
}

#[test]
fn an_error_names_the_field() {
    let text = CookieError::Domain.to_string();
    assert_eq!(text, "the cookie's domain is not a domain name");
}

/// Whatever is configured and whatever the id is: a checked cookie is one header line, with the attributes that it has and no others.
pub(crate) fn fuzz_cookie(text: &str, sid: &str) {
    let field = || Some(text.to_owned());
    let names = [text, "io"];
    for name in names {
        for (path, domain, expires) in [
            (field(), None, None),
            (None, field(), None),
            (None, None, field()),
        ] {
            let cookie = Cookie {
                name: name.to_owned(),
                path,
                domain,
                expires,
                ..Cookie::default()
            };
            if cookie.check().is_err() {
                continue;
            }
            let header = cookie.set_cookie(sid);
            assert!(
                header.bytes().all(|byte| matches!(byte, b' '..=b'~')),
                "{header}"
            );
            let attributes = if text.is_empty() { 2 } else { 3 };
            assert_eq!(header.split(';').count(), 1 + attributes, "{header}");
            let value = header
                .split(';')
                .next()
                .unwrap()
                .strip_prefix(name)
                .unwrap();
            let query = format!("v{value}");
            assert_eq!(
                http::query_value(&query, "v").as_deref(),
                Some(sid),
                "{header}"
            );
        }
    }
}

#[test]
fn damaged_fields_hold_the_rules_at_every_cut() {
    const FIELDS: &[&str] = &[
        "/chat/room",
        ".example.com",
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "io",
    ];
    for seed in 0..2000 {
        let mut random = Xorshift::new(seed);
        let mut bytes = FIELDS[seed as usize % FIELDS.len()].as_bytes().to_vec();
        random.mutate(&mut bytes);
        for cut in 0..=bytes.len() {
            let text = String::from_utf8_lossy(&bytes[..cut]);
            let result = std::panic::catch_unwind(|| fuzz_cookie(&text, &text));
            assert!(result.is_ok(), "seed {seed}: {text}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(6265), ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text(text in ".{0,20}", sid in ".{0,40}") {
        fuzz_cookie(&text, &sid);
    }

    #[test]
    fn arbitrary_names(text in "[a-z0-9.;=/<\\-\r\n ]{0,10}", sid in "[a-z;=%+\r\n ]{0,10}") {
        fuzz_cookie(&text, &sid);
    }
}
