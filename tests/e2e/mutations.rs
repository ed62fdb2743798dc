//! Containers that were changed at random: whatever they hold, the program reads them or says why not, in 4 GiB and in 20
//! seconds. Seeds are fixed: a number names the same file every time.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, StringArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field};
use parquet::basic::{Compression, ZstdLevel};

use crate::{
    fixture::{Fixture, ROOT, TestRng, in_shell},
    sources::{gzip, parquet},
};

/// Address space of the program, in KiB.
const MEMORY: u64 = 4 << 20;

/// Longer than this is a hang.
const MOST: Duration = Duration::from_secs(20);

#[test]
fn mutated_containers_are_read_or_refused() {
    mutate_all(12);
}

#[test]
#[ignore = "needs half an hour"]
fn soak_mutated_containers_are_read_or_refused() {
    mutate_all(2000);
}

/// What is changed: all of a file, or what lies in it from the one to the other byte before its end.
enum Where {
    Anywhere,
    Footer,
    BeforeFooter,
}

struct Container {
    name: &'static str,
    file: &'static str,
    bytes: Vec<u8>,
    place: Where,
}

/// `lzma.compress(ROWS)` and `bz2.compress(ROWS)` of Python 3.11, where ROWS are the twelve JSON lines
/// `{"text": "La nonna prepara il pane per la %da volta."}\n` of 0 to 11.
const XZ: &str = "fd377a585a000004e6d6b4460200210116000000742fe5a3e0028900585d003d888a86948813e0f38724ab05b1fe70ffc4101450c0828e5c1420\
                  c5cecddcb566991f886e4ce8abba02a3920960ad02faf87c8d8fe6627e7f6d3ccbeec8e061b3fe547b071f4a0d765af27a1c151659efb1d6de4c\
                  20763800272f654f3cb997bd0001748a050000000bc36e9fb1c467fb020000000004595a";
const BZIP2: &str = "425a6839314159265359655646d90001395d80001050017ff000042225d54a3000ba81252320c40608028001a00000a55093d046263534f49b53\
                     62ea5d85a9605f85a1622f45c0b62f92682d1a98c41101640b305505d02c2db9771cca74ada40bc17d1742c4b22ec5e8b02fe2ccb42c4b22f65b\
                     8b12d4b01605f05c0b62f25fa599665b1645fe2ee48a70a120caac8db2";

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}

fn containers() -> Vec<Container> {
    let mut rng = TestRng(15);
    let texts: Vec<String> = (0..24).map(|_| rng.text()).collect();
    let row =
        |text: &String| serde_json::json!({ "text": text, "n": [1, 2.5, null], "m": { "role": "user" } }).to_string();
    let lines: String = texts.iter().take(8).map(|text| row(text) + "\n").collect();
    let array = format!("[{}]", texts.iter().take(8).map(row).collect::<Vec<_>>().join(",\n"));
    let csv = texts.iter().take(8).map(|text| format!("x,\"{text}\"\r\n"));
    let csv: String = std::iter::once("url,text\r\n".to_owned()).chain(csv).collect();
    let columns = || {
        let lists = OffsetBuffer::<i32>::from_repeated_length(2, 12);
        let words: ArrayRef = Arc::new(StringArray::from_iter_values((0..24).map(|i| format!("{}", i % 5))));
        let inner = StructArray::from(vec![(Arc::new(Field::new("role", DataType::Utf8, true)), words)]);
        let item = Arc::new(Field::new("item", inner.data_type().clone(), true));
        let list: ArrayRef = Arc::new(ListArray::new(item, lists, Arc::new(inner), None));
        let text: ArrayRef = Arc::new(StringArray::from_iter_values(&texts[..12]));
        vec![("text", text), ("turns", list)]
    };
    let packed = |compression| parquet(columns(), compression, 5);
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let arrow = {
        let batch = RecordBatch::try_from_iter_with_nullable(columns().into_iter().map(|(n, c)| (n, c, true))).unwrap();
        let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    };
    let container = |name, file, bytes, place| Container { name, file, bytes, place };
    vec![
        container("Arrow", "x.arrow", arrow, Where::Anywhere),
        container("Parquet footers", "x.parquet", packed(zstd), Where::Footer),
        container("Parquet pages", "x.parquet", packed(Compression::SNAPPY), Where::BeforeFooter),
        container("JSON", "x.json", array.into_bytes(), Where::Anywhere),
        container("JSON lines", "x.jsonl", lines.clone().into_bytes(), Where::Anywhere),
        container("CSV", "x.csv", csv.into_bytes(), Where::Anywhere),
        container("gzip", "x.jsonl.gz", gzip(lines.as_bytes()), Where::Anywhere),
        container("zstd", "x.jsonl.zst", zstd::encode_all(lines.as_bytes(), 3).unwrap(), Where::Anywhere),
        container("xz", "x.jsonl.xz", hex(XZ), Where::Anywhere),
        container("bzip2", "x.jsonl.bz2", hex(BZIP2), Where::Anywhere),
    ]
}

/// The container with one to four changes.
fn mutated(container: &Container, number: usize) -> Vec<u8> {
    let mut rng = TestRng(number as u64 * 7919 + container.name.len() as u64);
    let mut bytes = container.bytes.clone();
    let footer = |bytes: &[u8]| {
        let length = bytes[bytes.len() - 8..][..4].try_into().unwrap();
        bytes.len() - 8 - u32::from_le_bytes(length) as usize
    };
    let (mut from, mut to) = match container.place {
        Where::Anywhere => (0, bytes.len()),
        Where::Footer => (footer(&bytes), bytes.len()),
        Where::BeforeFooter => (4, footer(&bytes)),
    };
    for _ in 0..=rng.below(4) {
        if to <= from + 8 {
            break;
        }
        let at = from + rng.below(to - from);
        match rng.below(8) {
            0 | 1 => bytes[at] ^= 1 << rng.below(8),
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.below(5)],
            3 => bytes[at] = u8::try_from(rng.below(256)).unwrap(),
            // Numbers that lengths are afraid of.
            4 => {
                let wide = [u64::MAX, 1 << 31, (1 << 31) - 1, u64::MAX >> 1, 0][rng.below(5)].to_le_bytes();
                let end = (at + [4, 8][rng.below(2)]).min(to);
                bytes[at..end].copy_from_slice(&wide[..end - at]);
            }
            5 => {
                let end = (at + 1 + rng.below(16)).min(to);
                bytes.drain(at..end);
                to -= end - at;
            }
            6 => {
                let end = (at + 1 + rng.below(16)).min(to);
                let again: Vec<u8> = bytes[at..end].to_vec();
                to += again.len();
                bytes.splice(at..at, again);
            }
            // Cut short, or a number of several bytes that never ends.
            _ => match container.place {
                Where::Anywhere if rng.below(4) == 0 => {
                    bytes.truncate(at);
                    (from, to) = (from.min(at), at);
                }
                _ => {
                    let end = (at + 1 + rng.below(12)).min(to);
                    bytes[at..end].fill(0xff);
                }
            },
        }
    }
    bytes
}

/// How a run of the program ended.
#[derive(Default)]
struct Ends {
    read: usize,
    refused: usize,
    bad: Vec<String>,
}

fn mutate_all(each: usize) {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    for container in containers() {
        let untouched = run(&Fixture::text(""), &container, &container.bytes);
        assert!(
            untouched.as_ref().is_ok_and(|(code, _)| *code == 0),
            "{} as it is written: {untouched:?}",
            container.name
        );
        let (next, ends) = (AtomicUsize::new(0), Mutex::new(Ends::default()));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let fixture = Fixture::text("");
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= each {
                            return;
                        }
                        let end = run(&fixture, &container, &mutated(&container, number));
                        let mut ends = ends.lock().unwrap();
                        match end {
                            Ok((0, _)) => ends.read += 1,
                            Ok(_) => ends.refused += 1,
                            Err(what) => ends.bad.push(format!("{} number {number}: {what}", container.name)),
                        }
                    }
                });
            }
        });
        let Ends { read, refused, bad } = ends.into_inner().unwrap();
        println!("{}: {each} mutations, {read} read, {refused} refused, {} otherwise", container.name, bad.len());
        assert!(bad.is_empty(), "{}", bad.join("\n"));
        assert!(each < 10 || refused > 0, "{}: none of the changes was noticed", container.name);
    }
}

/// The exit code and what was said, or what must not be.
fn run(fixture: &Fixture, container: &Container, bytes: &[u8]) -> Result<(i32, String), String> {
    let file = fixture.write(&format!("data/web/{}", container.file), bytes);
    let (log, out) = (fixture.path("log"), fixture.path("out"));
    if out.exists() {
        fs::remove_dir_all(&out).unwrap();
    }
    let mut command = in_shell(&format!("ulimit -v {MEMORY} && exec \"$@\""));
    command.arg("build").arg(fixture.path("recipe.toml")).arg("--from").arg(fixture.path("data"));
    command.arg("--out").arg(&out).args(["--jobs", "1"]).current_dir(ROOT).stdin(Stdio::null());
    command.stdout(fs::File::create(&log).unwrap()).stderr(fs::File::options().append(true).open(&log).unwrap());
    let mut child = command.spawn().unwrap();
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > MOST {
            child.kill().unwrap();
            child.wait().unwrap();
            return Err(format!("hangs; the file is {}", kept(&file)));
        }
        std::thread::sleep(Duration::from_millis(3));
    };
    let said = fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap();
    match status.code() {
        Some(code @ (0 | 1)) if !said.contains("panicked") && !said.contains("a fault of setaccio") => Ok((code, said)),
        _ => Err(format!("{status:?} {:?}; the file is {}: {said}", status.signal(), kept(&file))),
    }
}

/// A copy that stays when the fixture goes.
fn kept(file: &std::path::Path) -> String {
    let copy =
        std::env::temp_dir().join(format!("setaccio-{}-{}", std::process::id(), file.file_name().unwrap().display()));
    fs::copy(file, &copy).unwrap();
    copy.display().to_string()
}
