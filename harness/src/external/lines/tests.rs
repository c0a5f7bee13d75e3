use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn ids(first: u64, last: u64) -> Ids {
    Ids { first, last }
}

#[test]
fn every_line_of_the_contract_is_read() {
    for (line, read) in [
        ("ready", Line::Ready),
        ("acked 7 1234", Line::Acked { ids: ids(7, 7), offset: Some(1234) }),
        ("acked 7-12 1234", Line::Acked { ids: ids(7, 12), offset: Some(1234) }),
        ("acked 7 -1", Line::Acked { ids: ids(7, 7), offset: None }),
        (
            "failed 3 NOT_ENOUGH_REPLICAS 1 of 2 in sync",
            Line::Failed { ids: ids(3, 3), code: ErrorCode(19), text: "1 of 2 in sync" },
        ),
        ("failed 3-4 CLIENT", Line::Failed { ids: ids(3, 4), code: CLIENT_ERROR, text: "" }),
        ("unknown 3 REQUEST_TIMED_OUT", Line::Unknown { ids: ids(3, 3), code: ErrorCode(7), text: "" }),
        ("read 2 9 AAEC", Line::Read { partition: 2, offset: 9, value: b"AAEC", identity: None }),
        ("read 2 9 = AA==", Line::Read { partition: 2, offset: 9, value: b"=", identity: Some(b"AA==") }),
        ("position 0 10", Line::Position { partition: 0, offset: 10 }),
        ("expired 0 10", Line::Expired { partition: 0, offset: 10 }),
        ("truncated 0 10", Line::Truncated { partition: 0, offset: 10 }),
        ("watermark 0 10", Line::Watermark { partition: 0, offset: 10 }),
        ("log  two  spaces", Line::Log(" two  spaces")),
        ("log", Line::Log("")),
        ("fatal fenced", Line::Fatal("fenced")),
    ] {
        assert_eq!(parse(line.as_bytes()), Ok(read), "{line}");
    }
}

#[test]
fn what_is_wrong_with_a_line_is_said() {
    for (line, mistake) in [
        ("", "a word is missing"),
        (" ready", "a word is missing"),
        ("hello world", "the contract has no `hello`"),
        ("ready now", "it goes on where it should end, with `now`"),
        ("ready\r", "the contract has no `ready\u{fffd}`"),
        ("acked", "an id is missing"),
        ("acked 7", "an offset is missing"),
        ("acked 7 ", "an offset is missing"),
        ("acked 9-7 1", "the range of ids goes backwards"),
        ("acked -7 1", "`` is not an id"),
        ("acked 7- 1", "`` is not an id"),
        ("acked 99999999999999999999 1", "`99999999999999999999` is not an id"),
        ("acked 7 -2", "`-2` is not an offset"),
        ("acked 7 9223372036854775808", "`9223372036854775808` is not an offset"),
        ("failed 7 WHAT", "`WHAT` is neither an error of Kafka's protocol nor `CLIENT`"),
        ("failed 7 NONE", "`NONE` is neither an error of Kafka's protocol nor `CLIENT`"),
        ("failed 7", "a code is missing"),
        ("read 0 1", "a value is missing"),
        ("read x 1 AA==", "`x` is not a partition"),
        ("position 0", "an offset is missing"),
    ] {
        assert_eq!(parse(line.as_bytes()).unwrap_err().to_string(), mistake, "{line}");
    }
    let mut bytes = Vec::new();
    let bad = decode_record(b"AA", None, &mut bytes).unwrap_err().to_string();
    assert!(bad.starts_with("`AA` is no base64: "), "{bad}");
    assert_eq!(parse(b"log \xff"), Err(Mistake::NotText));
    assert_eq!(shortened(&[b'a'; 500]).len(), 83);
}

/// A producer's line as a program reads it: id, partition, timestamp, key, value, headers.
type Sent = (u64, usize, i64, Option<Vec<u8>>, Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>);

/// What a program makes of a line, as the contract says it should.
fn as_a_program_reads(line: &str) -> Sent {
    let bytes = |word: &str| {
        let mut bytes = Vec::new();
        pull_bytes(word.as_bytes(), &mut bytes).unwrap().then_some(bytes)
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[0], "send");
    let header = |word: &&str| {
        let (name, value) = word.split_once(':').unwrap();
        (bytes(name).unwrap(), bytes(value).unwrap())
    };
    (
        words[1].parse().unwrap(),
        words[2].parse().unwrap(),
        words[3].parse().unwrap(),
        bytes(words[4]),
        bytes(words[5]).unwrap(),
        words[6..].iter().map(header).collect(),
    )
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..70)
}

proptest! {
    /// What was put in comes out, whatever the bytes are, also with a parser that splits at any white space.
    #[test]
    fn records_survive_the_way_to_a_program(
        records in prop::collection::vec((0..9usize, any::<i64>(), prop::option::of(any_bytes()), any_bytes()), 1..9),
        own in prop::option::of(any_bytes()),
        header in prop::option::of(("[a-zé ]{0,9}", any_bytes())),
    ) {
        let headers: Headers = header.clone().into_iter().collect::<Vec<_>>().into();
        let mut lines = SendLines::new(&headers);
        let mut expected = Vec::new();
        for (id, (partition, timestamp_ms, key, value)) in records.iter().enumerate() {
            prop_assert_eq!(lines.begin(*partition), id as u64);
            let own_header = own.as_deref().map(|own| ("own", own));
            let spec = RecordSpec {
                timestamp_ms: *timestamp_ms, key: key.as_deref(), value_bytes: value.len(), own_header, headers: &[],
            };
            lines.append(&spec, |to| to.copy_from_slice(value));
            prop_assert_eq!(lines.bytes(), value.len() + key.as_ref().map_or(0, Vec::len));
            let all = own.iter().map(|own| (b"own".to_vec(), own.clone()));
            let all = all.chain(header.iter().map(|(name, value)| (name.clone().into_bytes(), value.clone())));
            expected.push((id as u64, *partition, *timestamp_ms, key.clone(), value.clone(), all.collect()));
        }
        let text = String::from_utf8(lines.lines().clone()).unwrap();
        prop_assert!(text.ends_with('\n'));
        let read: Vec<Sent> = text.lines().map(as_a_program_reads).collect();
        prop_assert_eq!(read, expected);
    }

    /// No bytes make it panic, and a line is never taken for two.
    #[test]
    fn any_bytes_are_a_line_or_a_mistake(line in any_bytes(), word in 0..11usize) {
        let words = ["ready", "acked", "failed", "unknown", "read", "position", "expired", "truncated", "watermark", "log", "fatal"];
        let _ = parse(&line);
        let mut known = words[word].as_bytes().to_vec();
        known.push(b' ');
        known.extend_from_slice(&line);
        if let Ok(Line::Read { value, identity, .. }) = parse(&known) {
            let _ = decode_record(value, identity, &mut Vec::new());
        }
    }

    #[test]
    fn values_survive_the_way_back(partition in 0..100usize, offset in 0..i64::MAX, value in any_bytes(), identity in prop::option::of(any_bytes())) {
        let mut line = format!("read {partition} {offset} ").into_bytes();
        push_bytes(&mut line, Some(&value));
        if let Some(identity) = &identity {
            line.push(b' ');
            push_bytes(&mut line, Some(identity));
        }
        let Line::Read { partition: p, offset: o, value: v, identity: i } = parse(&line).unwrap() else { unreachable!() };
        let mut bytes = Vec::new();
        decode_record(v, i, &mut bytes).unwrap();
        let mut whole = identity.unwrap_or_default();
        whole.extend_from_slice(&value);
        prop_assert_eq!((p, o, bytes), (partition, offset, whole));
    }
}

#[test]
fn ids_begin_anew_with_another_program() {
    let mut lines = SendLines::new(&(Arc::new([]) as Headers));
    let spec = RecordSpec { timestamp_ms: 5, key: None, value_bytes: 3, own_header: None, headers: &[] };
    lines.begin(4);
    lines.append(&spec, |to| to.copy_from_slice(b"abc"));
    assert_eq!(lines.lines().as_slice(), b"send 0 4 5 - YWJj\n");
    assert_eq!(lines.next_id(), 1);
    lines.restart();
    assert_eq!((lines.next_id(), lines.lines().len()), (0, 0));
}
