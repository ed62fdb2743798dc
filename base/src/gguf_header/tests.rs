use std::io::Write;

use super::*;

/// A file by its parts, each as the format has it.
#[derive(Clone)]
struct Made {
    magic: [u8; 4],
    version: u32,
    /// Counts that it claims, where these are not those that it has.
    claims: Option<(u64, u64)>,
    /// Key, type and bytes of its value.
    keys: Vec<(&'static str, u32, Vec<u8>)>,
    /// Name, sizes, type, offset.
    tensors: Vec<(&'static str, Vec<u64>, u32, u64)>,
    /// Bytes of the values.
    data: usize,
    /// What values start at a multiple of.
    padding: usize,
}

fn text(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text].concat()
}

impl Made {
    fn bytes(&self) -> Vec<u8> {
        let (tensors, keys) = self.claims.unwrap_or((self.tensors.len() as u64, self.keys.len() as u64));
        let mut out =
            [&self.magic[..], &self.version.to_le_bytes(), &tensors.to_le_bytes(), &keys.to_le_bytes()].concat();
        for (key, kind, value) in &self.keys {
            out.extend([text(key.as_bytes()), kind.to_le_bytes().to_vec(), value.clone()].concat());
        }
        for (name, shape, kind, offset) in &self.tensors {
            out.extend(text(name.as_bytes()));
            out.extend(u32::try_from(shape.len()).unwrap_or(0).to_le_bytes());
            out.extend(shape.iter().flat_map(|size| size.to_le_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend(offset.to_le_bytes());
        }
        out.resize(out.len().next_multiple_of(self.padding) + self.data, 0);
        out
    }
}

/// Two tensors of 64 bytes, one after the other.
fn whole() -> Made {
    Made {
        magic: *b"GGUF",
        version: 3,
        claims: None,
        keys: vec![
            ("general.architecture", 8, text(b"llama")),
            // A list of two lists, of two bytes and none.
            (
                "lists",
                9,
                [
                    &9_u32.to_le_bytes()[..],
                    &2_u64.to_le_bytes(),
                    &0_u32.to_le_bytes(),
                    &2_u64.to_le_bytes(),
                    &[7, 8],
                    &8_u32.to_le_bytes(),
                    &0_u64.to_le_bytes(),
                ]
                .concat(),
            ),
        ],
        tensors: vec![("a", vec![16], 0, 0), ("b", vec![8, 2], 0, 64)],
        data: 128,
        padding: 32,
    }
}

/// What is said of these bytes; nothing if they are good.
fn said(bytes: &[u8]) -> String {
    let mut file = tempfile::tempfile().unwrap_or_else(|e| panic!("{e}"));
    file.write_all(bytes).unwrap_or_else(|e| panic!("{e}"));
    check(&file, Path::new("m.gguf")).map_or_else(|e| e.to_string(), |()| String::new())
}

#[test]
fn the_texts_of_the_metadata_are_given_and_no_others() {
    let mut made = whole();
    let names = [&8_u32.to_le_bytes()[..], &2_u64.to_le_bytes(), &text(b"a"), &text(b"b")].concat();
    made.keys.push(("names", 9, names));
    let mut file = tempfile::tempfile().unwrap_or_else(|e| panic!("{e}"));
    file.write_all(&made.bytes()).unwrap_or_else(|e| panic!("{e}"));
    let said = super::texts(&file, Path::new("m.gguf")).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(said, "general.architecture\nllama\nlists\nnames\na\nb\n");
}

type Change = fn(&mut Made);

#[test]
fn what_is_whole_is_read() {
    let good: [Change; 6] = [
        |_| {},
        |m| m.tensors.reverse(),
        // Of a type that is not known, no more than the place is checked.
        |m| m.tensors[1].2 = 99,
        |m| {
            m.keys.push(("general.alignment", 4, 64_u32.to_le_bytes().to_vec()));
            m.padding = 64;
        },
        |m| {
            m.keys.push(("general.alignment", 4, 8_u32.to_le_bytes().to_vec()));
            m.tensors[1].3 = 64;
            m.padding = 8;
        },
        |m| {
            m.tensors.clear();
            m.data = 0;
        },
    ];
    for (i, change) in good.into_iter().enumerate() {
        let mut made = whole();
        made.data = 192;
        change(&mut made);
        assert_eq!(said(&made.bytes()), "", "{i}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let bad: [(Change, &str); 27] = [
        (|m| m.tensors[1].3 = 0, "tensor `b`: starts at byte 0 of the data, upon tensor `a`"),
        (|m| m.tensors[1].3 = 32, "tensor `b`: starts at byte 32 of the data, upon tensor `a`"),
        // Half as many bytes a value as the next place says: a type that is another one.
        (|m| m.tensors[0].2 = 1, "tensor `b`: starts at byte 64 of the data, and tensor `a` before it ends at byte 32"),
        (
            |m| (m.tensors[1].3, m.data) = (96, 192),
            "tensor `b`: starts at byte 96 of the data, and tensor `a` before it ends at byte 64",
        ),
        (|m| m.tensors[1].3 = 65, "tensor `b`: starts at byte 65 of the data, which is no multiple of 32"),
        (|m| m.tensors[1].3 = 96, "tensor `b`: 64 bytes from byte"),
        (|m| m.tensors[1].3 = u64::MAX - 31, "tensor `b`: 64 bytes from a byte that no file has"),
        (|m| m.data = 127, "tensor `b`: 64 bytes from byte"),
        (|m| m.tensors[1].0 = "a", "tensor `a`: is there twice"),
        (|m| m.tensors[1].1 = vec![8, 3], "tensor `b`: 96 bytes from byte"),
        (
            |m| m.tensors[1].1 = vec![1 << 40, 1 << 40],
            "tensor `b`: [1099511627776, 1099511627776] is larger than any file",
        ),
        (|m| m.tensors[1].1 = vec![1 << 62], "tensor `b`: [4611686018427387904] is larger than any file"),
        (|m| m.tensors[1].1 = vec![1; 5], "tensor `b`: has 5 dimensions"),
        (|m| (m.tensors[1].1, m.tensors[1].2) = (vec![48], 8), "rows of 48 values are no whole number of blocks of 32"),
        (|m| m.keys.push(("lists", 4, vec![0; 4])), "metadata `lists` is there twice"),
        (|m| m.keys.push(("x", 13, vec![0; 4])), "metadata `x`: there is no type of value 13"),
        (
            |m| m.keys.push(("x", 8, u64::MAX.to_le_bytes().to_vec())),
            "or cut short: 18446744073709551615 bytes from byte",
        ),
        (
            |m| m.keys.push(("x", 9, [&0_u32.to_le_bytes()[..], &u64::MAX.to_le_bytes()].concat())),
            "more than 16777216 values",
        ),
        (
            |m| m.keys.push(("x", 9, [&9_u32.to_le_bytes()[..], &1_u64.to_le_bytes()].concat().repeat(50))),
            "`x`: lists are nested",
        ),
        (|m| m.claims = Some((1 << 60, 2)), "claims 1152921504606846976 tensors and 2 keys, and is too short"),
        (|m| m.claims = Some((2, u64::MAX)), "and is too short for them"),
        (|m| m.claims = Some((3, 2)), "m.gguf: "),
        (|m| m.version = 4, "of GGUF's version 4"),
        (|m| m.version = 3_u32.swap_bytes(), "of little-endian machines"),
        (|m| m.magic = *b"GGML", "is not a GGUF file"),
        (
            |m| m.keys.push(("general.alignment", 8, text(b"32"))),
            "`general.alignment` is not a whole number of 32 bits",
        ),
        (|m| m.keys.push(("general.alignment", 5, (-32_i32).to_le_bytes().to_vec())), "`general.alignment` is 0"),
    ];
    for (change, want) in bad {
        let mut made = whole();
        change(&mut made);
        let said = said(&made.bytes());
        assert!(said.starts_with("m.gguf: ") && said.contains(want), "{want}: {said}");
    }
    for alignment in [0_u32, 1, 3, 4, 7, 12, 31, 33] {
        let mut made = whole();
        made.keys.push(("general.alignment", 4, alignment.to_le_bytes().to_vec()));
        let said = said(&made.bytes());
        assert!(said.contains(&format!("`general.alignment` is {alignment}, and has to be a power of two")), "{said}");
    }
}

#[test]
fn a_cut_is_seen_wherever_it_is() {
    let bytes = whole().bytes();
    assert_eq!(said(&bytes), "");
    for end in 0..bytes.len() {
        assert!(said(&bytes[..end]).starts_with("m.gguf: "), "cut at {end}");
    }
}

#[test]
fn no_change_of_a_byte_ends_in_a_panic() {
    let bytes = whole().bytes();
    for at in 0..bytes.len() - 128 {
        for mask in [1, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= mask;
            said(&changed);
        }
    }
}
