//! Every message as npm hypercore writes it: read, compared field by field, and written again to the same bytes.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use cloudpal_log::wire::{
    Data, Handshake, Limits, Message, Mux, MuxEvent, Request, Role, Span, Sync, capability,
};
use cloudpal_log::{
    BlockProof, BlockRequest, HashProof, HashRequest, Manifest, Node, Proof, ProofRequest, SeekProof,
    SeekRequest, Signer, UpgradeProof, UpgradeRequest,
};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/wire.json")).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    value.as_str().map_or_else(Vec::new, |hex| hex::decode(hex).unwrap())
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn flag(value: &Value, name: &str) -> bool {
    value[name].as_bool().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn fixed<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

/// The field `name`, when it is there.
fn part<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    Some(&value[name]).filter(|part| !part.is_null())
}

fn nodes(value: &Value) -> Vec<Node> {
    let node =
        |it: &Value| Node { index: number(it, "index"), size: number(it, "size"), hash: fixed(&it["hash"]) };
    value.as_array().unwrap().iter().map(node).collect()
}

fn message(name: &str, it: &Value) -> Message {
    let span = || Span { start: number(it, "start"), length: number(it, "length"), any: flag(it, "any") };
    match name {
        "sync" => Message::Sync(Sync {
            fork: number(it, "fork"),
            length: number(it, "length"),
            remote_length: number(it, "remoteLength"),
            can_upgrade: flag(it, "canUpgrade"),
            uploading: flag(it, "uploading"),
            downloading: flag(it, "downloading"),
            has_manifest: flag(it, "hasManifest"),
            allow_push: flag(it, "allowPush"),
        }),
        "request" => Message::Request(request(it)),
        "cancel" => Message::Cancel { request: number(it, "request") },
        "data" => Message::Data(Box::new(Data { request: number(it, "request"), proof: proof(it) })),
        "noData" => Message::NoData { request: number(it, "request"), reason: number(it, "reason") },
        "want" => Message::Want(span()),
        "unwant" => Message::Unwant(span()),
        "bitfield" => {
            let words = it["bitfield"].as_array().unwrap();
            let bits = words.iter().flat_map(|word| (word.as_u64().unwrap() as u32).to_le_bytes()).collect();
            Message::Bitfield { start: number(it, "start"), bits }
        }
        "range" => Message::Range {
            drop: flag(it, "drop"),
            start: number(it, "start"),
            length: number(it, "length"),
        },
        "extension" => Message::Extension {
            name: it["name"].as_str().unwrap().to_owned(),
            message: bytes(&it["message"]).into(),
        },
        other => panic!("no message is called {other}"),
    }
}

fn request(it: &Value) -> Request {
    let proof = ProofRequest {
        fork: number(it, "fork"),
        block: part(it, "block")
            .map(|it| BlockRequest { index: number(it, "index"), nodes: number(it, "nodes") }),
        hash: part(it, "hash")
            .map(|it| HashRequest { index: number(it, "index"), nodes: number(it, "nodes") }),
        seek: part(it, "seek")
            .map(|it| SeekRequest { bytes: number(it, "bytes"), padding: number(it, "padding") }),
        upgrade: part(it, "upgrade")
            .map(|it| UpgradeRequest { start: number(it, "start"), length: number(it, "length") }),
        manifest: flag(it, "manifest"),
    };
    Request { id: number(it, "id"), proof, priority: number(it, "priority") }
}

fn proof(it: &Value) -> Proof {
    Proof {
        fork: number(it, "fork"),
        block: part(it, "block").map(|it| BlockProof {
            index: number(it, "index"),
            value: bytes(&it["value"]).into(),
            nodes: nodes(&it["nodes"]),
        }),
        hash: part(it, "hash").map(|it| HashProof { index: number(it, "index"), nodes: nodes(&it["nodes"]) }),
        seek: part(it, "seek").map(|it| SeekProof { bytes: number(it, "bytes"), nodes: nodes(&it["nodes"]) }),
        upgrade: part(it, "upgrade").map(|it| UpgradeProof {
            start: number(it, "start"),
            length: number(it, "length"),
            nodes: nodes(&it["nodes"]),
            additional_nodes: nodes(&it["additionalNodes"]),
            signature: bytes(&it["signature"]).into(),
        }),
        manifest: part(it, "manifest").map(|it| {
            let signer = &it["signers"][0];
            let (namespace, public_key) = (fixed(&signer["namespace"]), fixed(&signer["publicKey"]));
            Manifest::quorum(number(it, "quorum"), vec![Signer { namespace, public_key }])
        }),
    }
}

#[test]
fn every_message_of_js_is_read_and_written_the_same() {
    let vectors = vectors();
    let mut kinds = std::collections::BTreeSet::new();
    for vector in vectors["messages"].as_array().unwrap() {
        let (name, hex) = (vector["name"].as_str().unwrap(), bytes(&vector["hex"]));
        if name == "handshake" {
            let expected = Handshake {
                seeks: flag(&vector["value"], "seeks"),
                capability: fixed(&vector["value"]["capability"]),
            };
            let mut written = Vec::new();
            expected.encode(&mut written);
            assert_eq!((Handshake::decode(&hex), written), (Ok(expected), hex));
            continue;
        }
        let expected = message(name, &vector["value"]);
        kinds.insert(expected.kind());
        let mut written = Vec::new();
        expected.encode(&mut written);
        assert_eq!(hex::encode(&written), hex::encode(&hex), "{expected:?}");
        assert_eq!(written.len(), expected.encoded_len(), "{expected:?}");
        assert_eq!(Message::decode(expected.kind(), &Bytes::from(hex)), Ok(Some(expected)));
    }
    assert_eq!(kinds.len(), 10, "every kind has a vector");
}

#[test]
fn a_message_that_is_cut_is_an_error_and_never_a_panic() {
    for vector in vectors()["messages"].as_array().unwrap() {
        let whole = Bytes::from(bytes(&vector["hex"]));
        for kind in 0..10 {
            for cut in 0..whole.len() {
                let _ = Message::decode(kind, &whole.slice(..cut));
            }
        }
        let _ = Handshake::decode(&whole);
    }
    let data = Message::decode(3, &Bytes::from_static(&[1, 1, 0, 5, 0xfe, 0xff, 0xff, 0xff, 0x7f]));
    assert!(data.is_err());
}

#[test]
fn capabilities_are_those_of_js() {
    for vector in vectors()["capabilities"].as_array().unwrap() {
        let role = if flag(vector, "initiator") { Role::Initiator } else { Role::Responder };
        let ours = capability(role, &fixed(&vector["key"]), &fixed(&vector["handshake"]));
        assert_eq!(ours, fixed(&vector["capability"]));
    }
}

#[test]
fn the_frames_of_js_protomux_are_understood() {
    let vectors = vectors();
    let frames: Vec<Bytes> =
        vectors["frames"].as_array().unwrap().iter().map(|it| bytes(it).into()).collect();
    let mut mux = Mux::new(Limits::default());
    let alpha = mux.open("hypercore/alpha", Some(&[3; 32]), b"");
    let other = mux.open("other", None, b"");
    for frame in &frames {
        mux.handle_frame(frame).unwrap();
    }
    let got: Vec<MuxEvent> = std::iter::from_fn(|| mux.poll_event()).collect();
    let message = |channel, kind, payload: &[u8]| MuxEvent::Message {
        channel,
        kind,
        payload: Bytes::copy_from_slice(payload),
    };
    let expected = [
        MuxEvent::Opened { channel: alpha, handshake: Bytes::from_static(b"hs") },
        MuxEvent::Opened { channel: other, handshake: Bytes::new() },
        message(alpha, 0, b"one"),
        message(alpha, 1, b"two"),
        message(other, 0, b"three"),
        message(alpha, 1, &[1; 300]),
        message(alpha, 1, b"alone"),
        MuxEvent::Closed { channel: other },
    ];
    assert_eq!(got, expected);

    // A batch of ours is what JS writes for the same messages.
    let mut batch = Vec::new();
    let mut frame = mux.frame(&mut batch);
    frame.push_raw(alpha, 0, b"one");
    frame.push_raw(alpha, 1, b"two");
    assert_eq!(hex::encode(&batch), hex::encode(&frames[2][..batch.len()]));
}
