//! Handles come from an untrusted channel: any 128 bytes are a handle or a violation.

use proptest::prelude::*;

use super::*;

fn any_handle() -> impl Strategy<Value = Handle> {
    let v4 = any::<[u8; 4]>().prop_map(|ip| IpAddr::V4(ip.into()));
    let v6 = any::<[u8; 16]>().prop_map(|ip| IpAddr::V6(ip.into()));
    let addresses = |ip: BoxedStrategy<IpAddr>| {
        let address = (ip, 1..=u16::MAX, any::<u32>()).prop_map(|(ip, port, scope)| match ip {
            IpAddr::V4(_) => SocketAddr::new(ip, port),
            IpAddr::V6(v6) => SocketAddr::V6(SocketAddrV6::new(v6, port, 0, scope)),
        });
        prop::collection::vec(address, 1..=Handle::ADDRESSES_MAX)
    };
    (prop_oneof![addresses(v4.boxed()), addresses(v6.boxed())], any::<[u8; 16]>()).prop_map(
        |(addresses, token)| {
            let mut handle = Handle::at(addresses[0], Token(token));
            handle.others.iter_mut().zip(&addresses[1..]).for_each(|(other, &more)| *other = Some(more));
            handle
        },
    )
}

fn example() -> Handle {
    Handle::at("192.0.2.7:12347".parse().unwrap(), Token([7; 16]))
}

/// Returns the reason why a good handle with one byte changed is refused.
#[track_caller]
fn refused(handle: Handle, at: usize, byte: u8) -> Violation {
    let mut bytes = handle.encode();
    assert_ne!(bytes[at], byte);
    bytes[at] = byte;
    Handle::decode(&bytes).unwrap_err()
}

#[test]
fn each_field_is_checked() {
    assert!(matches!(refused(example(), 0, b'X'), Violation::Magic { .. }));
    assert!(matches!(refused(example(), 4, 9), Violation::Version { ours: VERSION, theirs: 9 }));
    let family = Violation::Field { frame: "handle", field: "address family", value: 5 };
    assert_eq!(refused(example(), 6, 5), family);
    let reserved = Violation::Field { frame: "handle", field: "reserved byte", value: 1 };
    // Bytes behind an IPv4 address, behind the port, in place of a scope, and to the end.
    for at in (28..40).chain(42..48).chain(48..128) {
        assert_eq!(refused(example(), at, 1), reserved, "byte {at}");
    }
    let v6 = Handle::at("[fe80::1%3]:80".parse().unwrap(), Token([1; 16]));
    for at in (42..44).chain(48..128) {
        assert_eq!(refused(v6, at, 1), reserved, "byte {at}");
    }
    let port = Handle { address: "192.0.2.7:0".parse().unwrap(), ..example() };
    assert_eq!(
        Handle::decode(&port.encode()),
        Err(Violation::Field { frame: "handle", field: "port", value: 0 })
    );
    let none = Violation::Field { frame: "handle", field: "number of addresses", value: 0 };
    assert_eq!(refused(example(), 7, 0), none);
    assert_eq!(
        refused(example(), 7, 5),
        Violation::Field { frame: "handle", field: "number of addresses", value: 5 }
    );
    // The handle promises one address more than it holds.
    assert_eq!(refused(example(), 7, 2), Violation::Field { frame: "handle", field: "port", value: 0 });
}

#[test]
fn the_layout_is_the_documented_one() {
    let bytes = example().encode();
    assert_eq!(&bytes[..8], b"GTHD\x05\0\x04\x01");
    assert_eq!(bytes[8..24], [7; 16]);
    assert_eq!(bytes[24..28], [192, 0, 2, 7]);
    assert_eq!(bytes[40..42], 12347u16.to_le_bytes());
    assert!(bytes[28..40].iter().chain(&bytes[42..]).all(|&byte| byte == 0));
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(handle in any_handle()) {
        prop_assert_eq!(Handle::decode(&handle.encode()), Ok(handle));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes: [u8; Handle::BYTES]) {
        if let Ok(handle) = Handle::decode(&bytes) {
            prop_assert_eq!(handle.encode(), bytes);
        }
    }

    #[test]
    fn a_changed_handle_is_canonical_or_refused(
        handle in any_handle(),
        changes in prop::collection::vec((0..Handle::BYTES, 1..=u8::MAX), 1..4),
    ) {
        let mut bytes = handle.encode();
        for (at, flip) in changes {
            bytes[at] ^= flip;
        }
        if let Ok(other) = Handle::decode(&bytes) {
            prop_assert_eq!(other.encode(), bytes);
        }
    }
}
