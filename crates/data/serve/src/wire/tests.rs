use super::*;
use cloudpal_log::codec::Write as _;
use proptest::prelude::*;

proptest! {
    #[test]
    fn any_bytes_are_requests_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&Bytes::from(bytes));
    }

    #[test]
    fn any_body_of_any_request_is_one_or_refused(code in 0_u8..20, body in prop::collection::vec(0_u8..6, 0..60)) {
        let mut message = Vec::new();
        message.buffer(&[&[code, 1][..], &body].concat());
        if let Ok(requests) = parse(&Bytes::from(message)) {
            prop_assert_eq!(requests.len(), 1);
            prop_assert_eq!(requests[0].id, 1);
        }
    }
}

#[test]
fn counts_that_cannot_be_true_take_no_memory() {
    let mut frame = vec![3, 1, 0, 0, 0];
    frame.uint(1 << 40);
    let mut message = Vec::new();
    message.buffer(&frame);
    assert_eq!(parse(&message.into()).map_err(|failure| failure.code), Err(Code::Malformed));
}

#[test]
fn a_message_with_too_many_frames_is_refused() {
    let mut message = Vec::new();
    (0..MAX_FRAMES + 1).for_each(|_| message.buffer(&[14, 1]));
    assert!(parse(&message.clone().into()).is_err());
    assert_eq!(parse(&Bytes::from(message).slice(3..)).map(|requests| requests.len()), Ok(MAX_FRAMES));
}
