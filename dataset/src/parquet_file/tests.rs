//! Files that say what is not true of themselves, made byte by byte.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parquet::{
    arrow::{ProjectionMask, arrow_reader::ArrowReaderOptions},
    basic::{Compression, Repetition, Type as PhysicalType},
    file::metadata::{
        ColumnChunkMetaData, ColumnChunkMetaDataBuilder, FileMetaData, ParquetMetaData, ParquetMetaDataWriter,
        RowGroupMetaData,
    },
    schema::types::{SchemaDescriptor, Type},
};

use super::*;
use crate::row_groups::RowGroups;

/// A field of a struct in Thrift's compact protocol.
enum Field {
    Number(i64),
    Struct(Vec<(u8, Field)>),
    /// A text that is said to be so long, and is not there.
    Text(u64),
}

fn unsigned(mut n: u64, bytes: &mut Vec<u8>) {
    while n > 0x7f {
        bytes.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    bytes.extend(u8::try_from(n));
}

/// The bytes of a struct with these fields, in ascending order.
fn thrift(fields: &[(u8, Field)]) -> Vec<u8> {
    let (mut bytes, mut last) = (Vec::new(), 0);
    for (id, field) in fields {
        let kind = match field {
            Field::Number(_) => 5,
            Field::Struct(_) => 12,
            Field::Text(_) => 8,
        };
        bytes.push((id - last) << 4 | kind);
        last = *id;
        match field {
            Field::Number(n) => unsigned(((n << 1) ^ (n >> 63)).cast_unsigned(), &mut bytes),
            Field::Struct(fields) => bytes.extend(thrift(fields)),
            Field::Text(length) => unsigned(*length, &mut bytes),
        }
    }
    bytes.push(0);
    bytes
}

/// The header of a page of data, of plain values.
fn page(packed: i64, unpacked: i64, values: i64) -> Vec<u8> {
    use Field::{Number, Struct};
    let data = vec![(1, Number(values)), (2, Number(0)), (3, Number(3)), (4, Number(3))];
    thrift(&[(1, Number(0)), (2, Number(unpacked)), (3, Number(packed)), (5, Struct(data))])
}

/// That of a dictionary.
fn dictionary(packed: i64, unpacked: i64, values: i64) -> Vec<u8> {
    use Field::{Number, Struct};
    let values = vec![(1, Number(values)), (2, Number(0))];
    thrift(&[(1, Number(2)), (2, Number(unpacked)), (3, Number(packed)), (7, Struct(values))])
}

/// That of a page of the second version with such levels.
fn second(levels: i64, nulls: i64) -> Vec<u8> {
    use Field::{Number, Struct};
    let numbers = [1, nulls, 1, 0, levels, 0].into_iter().zip(1..).map(|(n, id)| (id, Number(n))).collect();
    thrift(&[(1, Number(3)), (2, Number(7)), (3, Number(7)), (8, Struct(numbers))])
}

/// One plain value.
const VALUE: &[u8] = b"\x03\0\0\0uno";

fn column(depth: usize) -> Arc<Type> {
    let leaf = Type::primitive_type_builder("text", PhysicalType::BYTE_ARRAY).with_repetition(Repetition::REQUIRED);
    let mut column = Arc::new(leaf.build().unwrap_or_else(|e| panic!("{e}")));
    for _ in 0..depth {
        let group = Type::group_type_builder("g").with_repetition(Repetition::REQUIRED).with_fields(vec![column]);
        column = Arc::new(group.build().unwrap_or_else(|e| panic!("{e}")));
    }
    column
}

/// What is said in the footer of a file.
struct Footer {
    depth: usize,
    group: (i64, i64),
    column: fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder,
}

impl Default for Footer {
    fn default() -> Self {
        Self { depth: 0, group: (1, 100), column: |column| column }
    }
}

/// A file with one column, which holds these bytes.
fn file(pages: &[u8], footer: &Footer) -> Bytes {
    let root = Type::group_type_builder("schema").with_fields(vec![column(footer.depth)]).build();
    let schema = Arc::new(SchemaDescriptor::new(Arc::new(root.unwrap_or_else(|e| panic!("{e}")))));
    let length = i64::try_from(pages.len()).unwrap_or_default();
    let chunk = ColumnChunkMetaData::builder(schema.column(0)).set_compression(Compression::SNAPPY);
    let chunk = chunk.set_data_page_offset(4).set_num_values(1).set_total_compressed_size(length);
    let chunk = (footer.column)(chunk.set_total_uncompressed_size(length)).build();
    let (rows, bytes) = footer.group;
    let group = RowGroupMetaData::builder(schema.clone()).set_num_rows(rows).set_total_byte_size(bytes);
    let group = group.set_column_metadata(vec![chunk.unwrap_or_else(|e| panic!("{e}"))]).build();
    let whole = FileMetaData::new(2, rows, None, None, schema, None);
    let metadata = ParquetMetaData::new(whole, vec![group.unwrap_or_else(|e| panic!("{e}"))]);
    let mut bytes = [MARK, pages].concat();
    ParquetMetaDataWriter::new(&mut bytes, &metadata).finish().unwrap_or_else(|e| panic!("{e}"));
    bytes.into()
}

/// What is said of a file: nothing if it can be read.
fn said(file: &Bytes) -> Option<(Why, String)> {
    let metadata = match load(file, ArrowReaderOptions::new()) {
        Ok(metadata) => metadata,
        Err(Flaw { why, message }) => return Some((why, message)),
    };
    let open = {
        let file = file.clone();
        move || Ok(file.clone())
    };
    let limit = PageLimit { bytes: 1 << 20, advice: "in a test" };
    let mut batches = RowGroups::new(open, metadata, ProjectionMask::all(), 0..1, 0, limit);
    batches.find_map(std::result::Result::err).map(|fault| {
        assert_eq!(fault.at.row_group, Some(0));
        (fault.flaw.why, fault.flaw.message)
    })
}

#[test]
fn a_footer_is_held_against_the_file() {
    let plain = [page(7, 7, 1), VALUE.to_vec()].concat();
    let plain_footer = || Footer { column: |c| c.set_compression(Compression::UNCOMPRESSED), ..Footer::default() };
    assert_eq!(said(&file(&plain, &plain_footer())), None);
    for (what, footer, expected) in [
        (
            "negative size",
            Footer { column: |c| c.set_total_compressed_size(-1), ..plain_footer() },
            "to be -1 bytes long",
        ),
        (
            "huge size",
            Footer { column: |c| c.set_total_compressed_size(i64::MAX), ..plain_footer() },
            "not in the file",
        ),
        ("negative place", Footer { column: |c| c.set_data_page_offset(-4), ..plain_footer() }, "at byte -4"),
        ("a place behind", Footer { column: |c| c.set_data_page_offset(1 << 40), ..plain_footer() }, "not in the file"),
        (
            "a dictionary behind",
            Footer { column: |c| c.set_dictionary_page_offset(Some(1 << 40)), ..plain_footer() },
            "not in the file",
        ),
        ("negative text", Footer { column: |c| c.set_total_uncompressed_size(-9), ..plain_footer() }, "-9 unpacked"),
        ("values", Footer { column: |c| c.set_num_values(i64::MAX), ..plain_footer() }, "values in 1 rows"),
        ("negative rows", Footer { group: (-1, 100), ..plain_footer() }, "-1 rows"),
        ("negative bytes", Footer { group: (1, -1), ..plain_footer() }, "-1 bytes"),
        ("depth", Footer { depth: 400, ..plain_footer() }, "nested more than 100 levels deep"),
    ] {
        let (_, message) = said(&file(&plain, &footer)).unwrap_or_else(|| panic!("{what} is read"));
        assert!(message.contains(expected), "{what}: {message}");
    }
    let deep = said(&file(&plain, &Footer { depth: 98, ..plain_footer() }));
    assert_eq!(deep, None, "what is no deeper than is allowed is read on the stack of a thread");
    let whole = file(&plain, &plain_footer());
    for cut in 0..whole.len() {
        assert!(said(&whole.slice(..cut)).is_some(), "the first {cut} bytes are read");
        assert!(said(&whole.slice(whole.len() - cut..)).is_some(), "the last {cut} bytes are read");
    }
}

#[test]
fn page_headers_are_held_against_the_file_and_cost_nothing() {
    use Field::{Number, Struct, Text};
    let dictionary_first =
        |c: ColumnChunkMetaDataBuilder| c.set_dictionary_page_offset(Some(4)).set_data_page_offset(5);
    let values = |n: i64| vec![(1, Number(n)), (2, Number(0)), (3, Number(3)), (4, Number(3)), (5, Struct(Vec::new()))];
    let long = vec![(1, Text(u64::from(u32::MAX) >> 1))];
    let mut statistics = values(1);
    statistics[4] = (5, Struct(long));
    let statistics = thrift(&[(1, Number(0)), (2, Number(7)), (3, Number(7)), (5, Struct(statistics))]);
    for (what, header, in_dictionary, why, expected) in [
        ("negative", page(-7, 7, 1), false, Why::Damage, "is said to have -7 bytes"),
        ("negative text", page(7, -7, 1), false, Why::Damage, "-7 unpacked"),
        ("negative values", page(7, 7, -1), false, Why::Damage, "and -1 values"),
        ("longer than the column", page(700, 7, 1), false, Why::Damage, "more than its column"),
        (
            "2 GiB of seven bytes",
            page(7, i64::from(i32::MAX), 1),
            false,
            Why::Damage,
            "cannot unpack to the 2147483647",
        ),
        ("too many values", page(7, 7, 2), false, Why::Damage, "2 values, and has room for 1"),
        ("2 G of words", dictionary(7, 7, i64::from(i32::MAX)), true, Why::Damage, "2147483647 values"),
        ("levels", second(8, 0), false, Why::Damage, "contradicts itself"),
        ("negative levels", second(-1, 0), false, Why::Damage, "contradicts itself"),
        ("nulls", second(0, 2), false, Why::Damage, "contradicts itself"),
        ("a smallest value of 2 GiB", statistics, false, Why::Damage, "the header of a page is damaged"),
        ("no header", vec![0xff; 40], false, Why::Damage, "the header of a page is damaged"),
    ] {
        let began = Instant::now();
        let column = if in_dictionary { dictionary_first } else { |c| c };
        let bytes = file(&[header, VALUE.to_vec()].concat(), &Footer { column, ..Footer::default() });
        let (found, message) = said(&bytes).unwrap_or_else(|| panic!("{what} is read"));
        assert!(found == why && message.contains(expected), "{what}: {found:?}: {message}");
        assert!(began.elapsed() < Duration::from_millis(500), "{what} takes {:?}", began.elapsed());
    }
}

#[test]
fn a_limit_is_no_damage() {
    // 40,000 bytes of snappy may be two million.
    let column = |c: ColumnChunkMetaDataBuilder| c.set_compression(Compression::SNAPPY);
    let bytes = file(&[page(40_000, 2_000_000, 1), vec![0; 40_000]].concat(), &Footer { column, ..Footer::default() });
    let said = said(&bytes);
    assert_eq!(said, Some((Why::Limit, "a page unpacks to 2000000 bytes, and 1048576 are read, in a test".into())));
}

#[test]
fn a_person_is_told_what_is_wrong_and_not_what_the_library_calls_it() {
    for (said, why, expected) in [
        ("Parquet argument error: External: Data corruption detected", Why::Damage, "Data corruption detected"),
        ("Parquet argument error: Parquet error: EOF: too few values", Why::Damage, "too few values"),
        ("NYI: a new encoding", Why::Limit, "NYI: a new encoding"),
    ] {
        let flaw = Flaw::said(said.into());
        assert_eq!((flaw.why, flaw.message.as_str()), (why, expected));
    }
}

#[test]
fn what_the_library_panics_at_is_an_error() {
    // A page whose values are in a dictionary that has none.
    use Field::{Number, Struct};
    let coded = vec![(1, Number(1)), (2, Number(8)), (3, Number(3)), (4, Number(3))];
    // Indices of one bit: a run of one zero.
    let data = thrift(&[(1, Number(0)), (2, Number(3)), (3, Number(3)), (5, Struct(coded))]);
    let pages = [dictionary(0, 0, 0), data, vec![1, 2, 0]].concat();
    let column = |c: ColumnChunkMetaDataBuilder| {
        c.set_dictionary_page_offset(Some(4)).set_data_page_offset(5).set_compression(Compression::UNCOMPRESSED)
    };
    let (why, message) = said(&file(&pages, &Footer { column, ..Footer::default() })).unwrap_or_else(|| panic!("read"));
    assert_eq!(why, Why::Damage, "{message}");
}
