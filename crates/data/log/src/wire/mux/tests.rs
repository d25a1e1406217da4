use super::*;
use crate::wire::Message;

/// Moves everything that is waiting from one end to the other.
fn carry(from: &mut Mux, to: &mut Mux) {
    let mut frame = Vec::new();
    while from.poll_control(&mut frame) {
        to.handle_frame(&Bytes::from(std::mem::take(&mut frame))).unwrap();
    }
}

fn events(mux: &mut Mux) -> Vec<MuxEvent> {
    std::iter::from_fn(|| mux.poll_event()).collect()
}

fn pair() -> (Mux, Mux) {
    (Mux::new(Limits::default()), Mux::new(Limits::default()))
}

#[test]
fn an_opening_is_the_bytes_that_js_sends() {
    let mut mux = Mux::new(Limits::default());
    mux.open("hypercore/alpha", Some(&[7; 32]), &[1, 2]);
    let mut frame = Vec::new();
    assert!(mux.poll_control(&mut frame));
    // 0 control, 1 open, 1 number, 15 "hypercore/alpha", 32 id, handshake: written by hand from protomux index.js.
    let mut expected = vec![0, 1, 1, 15];
    expected.extend_from_slice(b"hypercore/alpha");
    expected.push(32);
    expected.extend_from_slice(&[7; 32]);
    expected.extend_from_slice(&[1, 2]);
    assert_eq!(frame, expected);
}

#[test]
fn both_sides_open_and_talk() {
    let (mut a, mut b) = pair();
    let here = a.open("p", Some(b"id"), b"from a");
    let there = b.open("p", Some(b"id"), b"from b");
    carry(&mut a, &mut b);
    carry(&mut b, &mut a);
    assert_eq!(
        events(&mut a),
        [MuxEvent::Opened { channel: here, handshake: Bytes::from_static(b"from b") }]
    );
    assert_eq!(
        events(&mut b),
        [MuxEvent::Opened { channel: there, handshake: Bytes::from_static(b"from a") }]
    );

    let mut frame = Vec::new();
    let mut opening = a.frame(&mut frame);
    opening.push_raw(here, 3, b"one");
    opening.push(here, &Message::Cancel { request: 9 });
    b.handle_frame(&Bytes::from(frame)).unwrap();
    let message =
        |kind, payload| MuxEvent::Message { channel: there, kind, payload: Bytes::from_static(payload) };
    assert_eq!(events(&mut b), [message(3, b"one"), message(2, &[9])]);
}

#[test]
fn what_is_wanted_can_be_opened_late_or_refused() {
    let (mut a, mut b) = pair();
    let here = a.open("p", None, b"");
    carry(&mut a, &mut b);
    assert_eq!(events(&mut b), [MuxEvent::Wanted { protocol: "p".into(), id: None }]);
    let mut frame = Vec::new();
    a.frame(&mut frame).push_raw(here, 0, b"early");
    b.handle_frame(&Bytes::from(frame)).unwrap();
    assert_eq!(events(&mut b), []);
    let there = b.open("p", None, b"");
    let early = MuxEvent::Message { channel: there, kind: 0, payload: Bytes::from_static(b"early") };
    assert_eq!(events(&mut b), [MuxEvent::Opened { channel: there, handshake: Bytes::new() }, early]);
    carry(&mut b, &mut a);
    assert!(a.is_open(here));
    events(&mut a);

    let refused = a.open("q", None, b"");
    carry(&mut a, &mut b);
    b.refuse("q", None);
    carry(&mut b, &mut a);
    assert_eq!(events(&mut a), [MuxEvent::Closed { channel: refused }]);
}

#[test]
fn closing_frees_the_number_on_both_sides() {
    let (mut a, mut b) = pair();
    for round in 0..3 {
        let here = a.open("p", None, &[round]);
        let there = b.open("p", None, &[round]);
        carry(&mut a, &mut b);
        carry(&mut b, &mut a);
        assert_eq!((here, there), (ChannelId(1), ChannelId(1)), "round {round}");
        events(&mut a);
        events(&mut b);
        a.close(here);
        carry(&mut a, &mut b);
        assert_eq!(events(&mut b), [MuxEvent::Closed { channel: there }]);
        assert!(!a.is_open(here) && !b.is_open(there));
    }
}

#[test]
fn closing_before_the_answer_comes_leaves_nothing_behind() {
    let (mut a, mut b) = pair();
    let here = a.open("p", None, b"");
    a.close(here);
    let there = b.open("p", None, b"");
    carry(&mut b, &mut a);
    carry(&mut a, &mut b);
    assert_eq!(events(&mut a), []);
    assert_eq!(events(&mut b).last(), Some(&MuxEvent::Closed { channel: there }));
    let again = a.open("p", None, b"");
    b.open("p", None, b"");
    carry(&mut a, &mut b);
    carry(&mut b, &mut a);
    assert!(a.is_open(again));
}

#[test]
fn what_no_peer_may_do_ends_the_stream() {
    let mux = || Mux::new(Limits { channels: 3, early_bytes: 2000, name_bytes: 4 });
    let send = |frames: &[&[u8]]| {
        let mut mux = mux();
        frames.iter().try_for_each(|frame| mux.handle_frame(&Bytes::copy_from_slice(frame)))
    };
    assert_eq!(send(&[&[0, 1, 2, 1, b'p', 0]]), Err(MuxError::Number(2)));
    assert_eq!(send(&[&[0, 1, 1, 1, b'p', 0], &[0, 1, 1, 1, b'p', 0]]), Err(MuxError::Number(1)));
    assert_eq!(send(&[&[0, 1, 4, 1, b'p', 0]]), Err(MuxError::Limit("channels")));
    assert_eq!(
        send(&[&[0, 1, 1, 5, b'p', b'p', b'p', b'p', b'p', 0]]),
        Err(MuxError::Limit("bytes of a channel's name"))
    );
    assert_eq!(send(&[&[0, 2, 1]]), Err(MuxError::Refusal(1)));
    let flood = [1, 0, 0];
    let frames: Vec<&[u8]> = [&[0, 1, 1, 1, b'p', 0][..]].into_iter().chain([&flood[..]; 5]).collect();
    assert_eq!(send(&frames), Err(MuxError::Limit("bytes on channels that are not open yet")));
    assert!(matches!(send(&[&[0, 0, 0, 2, 0, 0]]), Err(MuxError::Frame(_))));
    // Messages for channels that are closed may have been on their way.
    assert_eq!(send(&[&[9, 0, 1]]), Ok(()));
}
