use super::*;

/// What is found to be a plain event is decoded to the same.
fn fuzz_plain(data: &[u8]) {
    for max_depth in [1, 2, LIMITS.max_depth] {
        let limits = Limits {
            max_depth,
            ..LIMITS
        };
        let Some(plain) = find_plain(data, &limits) else {
            continue;
        };
        let mut text = data.to_vec();
        let packet = decode(&mut text, &limits).unwrap();
        assert_eq!(
            (packet.kind, packet.attachments, packet.namespace),
            (Event, 0, "/")
        );
        assert_eq!((packet.id, packet.name), (plain.id, Some(plain.name)));
        assert_eq!(packet.payload.as_deref(), data.get(plain.payload..));
    }
}

#[test]
fn plain_events() {
    let found = |text: &str| find_plain(text.as_bytes(), &LIMITS).is_some();
    for plain in [
        r#"2["x"]"#,
        r#"2["é",1]"#,
        r#"212["",{"a":[]} , 2 ]"#,
        r#"2["x" ,1]"#,
    ] {
        assert!(found(plain), "{plain}");
    }
    for other in [
        "",
        "2",
        "2]",
        r#"2["x"] "#,
        r#"2 ["x"]"#,
        r#"2[ "x"]"#,
        r#"2["\u0061"]"#,
        r#"2["connect"]"#,
        r#"2["x",]"#,
        r#"2["x"]]"#,
        "2[1]",
        r#"2/a,["x"]"#,
        r#"3["x"]"#,
        r#"51-["x"]"#,
        r#"29007199254740992["x"]"#,
    ] {
        assert!(!found(other), "{other}");
    }
    for_each_seed(4000, |random| {
        let mut items = vec![Value::String(random.string())];
        items.extend((0..random.below(3)).map(|_| random.value(3)));
        let mut text = random.pick(&["2", "27", "2/,"]).as_bytes().to_vec();
        if random.below(2) == 0 {
            text.extend_from_slice(Value::Array(items).to_string().as_bytes());
        } else {
            random.write(&Value::Array(items), &mut text);
        }
        fuzz_plain(&text);
        random.mutate(&mut text);
        fuzz_plain(&text);
    });
}
