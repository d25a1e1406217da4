//! What a stream delivers, cut anywhere into reads: frames come out the same however it is cut.
#![no_main]
use cloudpal_log::wire::Frames;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((cut, stream)) = bytes.split_first() else { return };
    let read = |parts: &[&[u8]]| {
        let mut frames = Frames::new();
        let mut out = Vec::new();
        for part in parts {
            frames.buffer().extend_from_slice(part);
            loop {
                match frames.next(4096) {
                    Ok(Some(frame)) => out.push(Ok(frame)),
                    Ok(None) => break,
                    Err(error) => {
                        out.push(Err(error));
                        return out;
                    }
                }
            }
        }
        out
    };
    let cut = usize::from(*cut).min(stream.len());
    assert_eq!(read(&[stream]), read(&[&stream[..cut], &stream[cut..]]));
});
