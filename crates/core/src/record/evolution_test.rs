//! What may change between two versions of a program, and what is said of all else.

use super::RowReader;
use crate::record::{Input, Record, Schema, Serde};
use std::collections::BTreeMap;

/// What a row of `old` is for a program that has `B`.
fn evolve<A: Record, B: Record>(old: &A) -> B {
    let reader = RowReader::new(&A::schema(), &B::schema()).expect("compatible");
    let mut row = Vec::new();
    old.encode(&mut row);
    let mut new = Vec::new();
    if reader.is_identity() {
        new.clone_from(&row);
    } else {
        let mut input = Input::new(&row);
        reader.transcode(&mut input, &mut new).expect("a row");
        input.finish().expect("all of the row");
    }
    let mut input = Input::new(&new);
    let value = B::decode(&mut input).expect("a row of the program");
    input.finish().expect("nothing else");
    // No prefix of a row is one, and none is a reason to panic.
    for end in 0..row.len() {
        if !reader.is_identity() {
            assert!(reader.transcode(&mut Input::new(&row[..end]), &mut Vec::new()).is_err());
        }
    }
    value
}

fn refusal<A: Record, B: Record>() -> String {
    RowReader::new(&A::schema(), &B::schema()).expect_err("incompatible").to_string()
}

mod old {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Record)]
    pub(super) struct Bid {
        pub(super) auction: u32,
        pub(super) channel: String,
        pub(super) price: i16,
        pub(super) tags: Vec<(u8, f32)>,
        pub(super) kind: Kind,
    }

    #[derive(Clone, Debug, PartialEq, Record)]
    pub(super) enum Kind {
        Open,
        Closed { by: String, at: i32 },
    }
}

mod new {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Record)]
    pub(super) struct Offer {
        #[record(default)]
        pub(super) seen: u64,
        #[record(alias = "price")]
        pub(super) cents: i64,
        pub(super) auction: u64,
        pub(super) kind: Kind,
        #[record(default = "unknown".to_owned())]
        pub(super) bidder: String,
        pub(super) note: Option<String>,
        pub(super) tags: Vec<(u8, f64)>,
    }

    #[derive(Clone, Debug, PartialEq, Record)]
    pub(super) enum Kind {
        Cancelled,
        Closed { at: i64, by: String },
        Open,
    }
}

fn bid(kind: old::Kind) -> old::Bid {
    let (channel, tags) = ("web".to_owned(), vec![(1, 0.5), (2, -3.25)]);
    old::Bid { auction: 7, channel, price: -12, tags, kind }
}

#[test]
fn fields_come_go_move_are_renamed_and_widened() {
    let closed = old::Kind::Closed { by: "me".to_owned(), at: -5 };
    let offer = |kind| new::Offer {
        seen: 0,
        cents: -12,
        auction: 7,
        kind,
        bidder: "unknown".to_owned(),
        note: None,
        tags: vec![(1, 0.5), (2, -3.25)],
    };
    assert_eq!(evolve::<_, new::Offer>(&bid(old::Kind::Open)), offer(new::Kind::Open));
    let now_closed = new::Kind::Closed { at: -5, by: "me".to_owned() };
    assert_eq!(evolve::<_, new::Offer>(&bid(closed)), offer(now_closed));
}

#[test]
fn numbers_become_wider_within_their_kind() {
    fn check<A: Record, B: Record + PartialEq + std::fmt::Debug>(pairs: &[(A, B)]) {
        for (old, new) in pairs {
            assert_eq!(evolve::<A, B>(old), *new);
        }
    }
    check(&[(0_u8, 0_u16), (255, 255)]);
    check(&[(7_u16, 7_u128), (u16::MAX, 65_535)]);
    check(&[(u64::MAX, u128::from(u64::MAX))]);
    check(&[(-1_i8, -1_i64), (i8::MIN, -128), (127, 127)]);
    check(&[(i64::MIN, i128::from(i64::MIN))]);
    check(&[(1.5_f32, 1.5_f64), (f32::MIN, f64::from(f32::MIN))]);
    check(&[(Some([1_u8, 2]), Some([1_u32, 2])), (None, None)]);
    check(&[(BTreeMap::from([(1_u8, -1_i8)]), BTreeMap::from([(1_u64, -1_i16)]))]);
}

#[test]
fn names_of_types_do_not_matter_and_equal_rows_are_taken_as_they_are() {
    #[derive(Clone, Debug, PartialEq, Record)]
    struct Before {
        a: u64,
        b: String,
    }
    #[derive(Clone, Debug, PartialEq, Record)]
    struct After {
        #[record(alias = "a")]
        number: u64,
        b: String,
    }
    let reader = RowReader::new(&Before::schema(), &After::schema()).expect("compatible");
    assert!(reader.is_identity());
    let before = Before { a: 1, b: "x".to_owned() };
    assert_eq!(evolve::<_, After>(&before), After { number: 1, b: "x".to_owned() });
}

#[test]
fn an_alias_gives_way_to_a_field_that_has_the_name_now() {
    #[derive(Clone, Debug, PartialEq, Record)]
    struct Before {
        a: u64,
    }
    #[derive(Clone, Debug, PartialEq, Record)]
    struct After {
        #[record(alias = "a", default = 9)]
        b: u64,
        a: u64,
    }
    assert_eq!(evolve::<_, After>(&Before { a: 1 }), After { b: 9, a: 1 });
}

#[test]
fn what_cannot_be_said_of_the_old_rows_is_refused_with_field_shapes_and_advice() {
    #[derive(Clone, Record)]
    struct Before {
        inner: Vec<Inner>,
    }
    #[derive(Clone, Record)]
    struct Inner {
        count: u64,
    }
    #[derive(Clone, Record)]
    struct Narrower {
        inner: Vec<NarrowerInner>,
    }
    #[derive(Clone, Record)]
    struct NarrowerInner {
        count: u32,
    }
    let text = refusal::<Before, Narrower>();
    for part in ["`inner.[].count`", "u64", "u32", "widened"] {
        assert!(text.contains(part), "{text}");
    }
    #[derive(Clone, Record)]
    struct More {
        inner: Vec<Inner>,
        added: u64,
    }
    let text = refusal::<Before, More>();
    for part in ["`added`", "u64", "#[record(default)]", "alias"] {
        assert!(text.contains(part), "{text}");
    }
    #[derive(Clone, Record)]
    enum Two {
        A,
        B,
    }
    #[derive(Clone, Record)]
    enum One {
        A,
    }
    let _ = (Two::A, Two::B, One::A);
    assert!(refusal::<Two, One>().contains("`B`"));
    refusal::<u64, i64>();
    refusal::<u32, i64>();
    refusal::<i64, u128>();
    refusal::<f64, f32>();
    refusal::<u64, String>();
    refusal::<String, Vec<u8>>();
    refusal::<(u8, u8), (u8, u8, u8)>();
    refusal::<[u8; 2], [u8; 3]>();
    refusal::<u8, Option<u8>>();
    refusal::<Serde<u8>, Serde<u16>>();
}

#[test]
fn a_schema_without_end_is_refused_and_a_lying_length_allocates_nothing() {
    let nested = |inner: Schema| (0..200).fold(inner, |all, _| Schema::Option(Box::new(all)));
    let (old, new) = (nested(u8::schema()), nested(u16::schema()));
    assert!(RowReader::new(&old, &new).is_err());
    let reader = RowReader::new(&Vec::<u8>::schema(), &Vec::<u16>::schema()).expect("compatible");
    let lying = [0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 1, 2];
    let mut out = Vec::new();
    assert!(reader.transcode(&mut Input::new(&lying), &mut out).is_err());
    assert!(out.capacity() < 100);
}
