//! Character encodings: whatever a file is in, its text is read as UTF-8.

use std::io::{self, BufRead, BufReader, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8};

use super::{
    compress::{Compression, decompress},
    reader::Refusal,
};

const BUFFER: usize = 64 << 10;

/// Text that a compressed byte stands for, about: natural language in gzip.
const PACKED: u64 = 4;

/// The byte order mark that some editors put first.
pub const BOM: &[u8] = b"\xef\xbb\xbf";

/// What has to be undone before a file is text.
#[derive(Clone, Copy, Debug)]
pub struct Packing {
    /// How it is compressed.
    pub compression: Compression,
    /// Its encoding, if that is not UTF-8.
    pub encoding: Option<&'static Encoding>,
}

impl Packing {
    /// Whether its bytes are its text, so that any part of it can be read alone.
    pub fn none(&self) -> bool {
        self.compression == Compression::None && self.encoding.is_none()
    }

    /// Bytes of text in a file of this size, about.
    pub fn text_bytes(&self, bytes: u64) -> u64 {
        if self.compression == Compression::None { bytes } else { bytes * PACKED }
    }

    /// The text of a stream; see [`decompress`].
    pub fn undo<'a>(&self, raw: impl Read + Send + 'a, window_log: u32) -> io::Result<Box<dyn Read + Send + 'a>> {
        let bytes = decompress(self.compression, raw, window_log)?;
        Ok(match self.encoding {
            None => bytes,
            Some(encoding) => Box::new(Transcoder {
                input: BufReader::with_capacity(BUFFER, bytes),
                encoding,
                decoder: encoding.new_decoder_with_bom_removal(),
                read: 0,
                text: vec![0; BUFFER],
                ready: 0..0,
                ended: false,
            }),
        })
    }
}

/// The encoding of a file that begins like this: what its byte order mark says, else what its reader was told; `None`
/// is UTF-8.
///
/// # Errors
/// There is no encoding of that name.
pub fn encoding(head: &[u8], told: Option<&str>) -> Result<Option<&'static Encoding>, String> {
    let told = told.map(|label| Encoding::for_label(label.as_bytes()).ok_or_else(|| unknown(label))).transpose()?;
    let marked = Encoding::for_bom(head).map(|(encoding, _)| encoding);
    Ok(marked.or(told).filter(|encoding| *encoding != UTF_8))
}

fn unknown(label: &str) -> String {
    format!("there is no encoding {label:?}: utf-8, utf-16le, windows-1252, iso-8859-15, gbk, shift_jis are some")
}

/// Makes UTF-8 of another encoding.
struct Transcoder<R> {
    input: R,
    encoding: &'static Encoding,
    decoder: Decoder,
    /// Bytes of the input so far.
    read: u64,
    text: Vec<u8>,
    /// The part of `text` that nobody has taken yet.
    ready: std::ops::Range<usize>,
    ended: bool,
}

impl<R: BufRead> Read for Transcoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_empty() && !self.ended {
            let chunk = self.input.fill_buf()?;
            let last = chunk.is_empty();
            let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(chunk, &mut self.text, last);
            self.input.consume(read);
            self.read += read as u64;
            self.ready = 0..written;
            if let DecoderResult::Malformed(..) = result {
                return Err(Refusal::error(format!(
                    "it is not {} around its byte {}: name the `encoding` that it is in, in its [[source]]",
                    self.encoding.name(),
                    self.read
                )));
            }
            self.ended = last && result == DecoderResult::InputEmpty;
        }
        let n = buffer.len().min(self.ready.len());
        buffer[..n].copy_from_slice(&self.text[self.ready.start..self.ready.start + n]);
        self.ready.start += n;
        Ok(n)
    }
}
