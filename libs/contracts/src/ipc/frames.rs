//! What a stream's decoder is not given, since it takes memory without bound: compressed bodies, of which kilobytes may become
//! gigabytes; and dictionaries that grow, each state of which would be kept with every batch. So each message is looked at
//! before the decoder has it. Framing: Arrow columnar format, "Encapsulated message format".

use std::collections::HashMap;

use arrow::ipc::{DictionaryBatch, Message, root_as_message};
use larder_types::{Error, Result};

/// What stands before a message's length since Arrow 0.15.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Follows the frames of a stream, whose pieces may be cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Frames {
    state: State,
    /// The bytes of each dictionary that the decoder holds.
    dictionaries: HashMap<i64, usize>,
}

#[derive(Debug)]
enum State {
    /// The length of a message's metadata, or the continuation before it.
    Length([u8; 4], usize),
    /// Metadata, of which so many bytes are wanted.
    Metadata(Vec<u8>, usize),
    /// So many bytes of a body are still to come.
    Body { left: usize, is_dictionary: bool },
    /// The stream has ended, as its writer says.
    Ended,
    /// It is none: the decoder says so.
    NoStream,
}

impl Default for State {
    fn default() -> Self {
        Self::Length([0; 4], 0)
    }
}

impl Frames {
    /// The bytes of all dictionaries that are held.
    pub(super) fn dictionary_bytes(&self) -> usize {
        self.dictionaries.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// Whether the stream came to its end. Every writer marks it: otherwise nobody could tell a stream from its beginning.
    pub(super) fn have_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Whether some of this piece is a dictionary's. INVALID_ARGUMENT for a message whose metadata ends in it, and which the
    /// decoder is not to be given.
    pub(super) fn check(&mut self, mut piece: &[u8]) -> Result<bool> {
        let mut has_dictionary = false;
        while !piece.is_empty() {
            match &mut self.state {
                State::Length(bytes, filled) => {
                    let taken = piece.len().min(bytes.len() - *filled);
                    bytes[*filled..*filled + taken].copy_from_slice(&piece[..taken]);
                    *filled += taken;
                    piece = &piece[taken..];
                    if *filled == bytes.len() {
                        self.state = after_length(*bytes);
                    }
                }
                State::Metadata(metadata, wanted) => {
                    let taken = piece.len().min(*wanted - metadata.len());
                    metadata.extend_from_slice(&piece[..taken]);
                    piece = &piece[taken..];
                    if metadata.len() == *wanted {
                        self.state = after_metadata(metadata, &mut self.dictionaries)?;
                    }
                }
                State::Body { left, is_dictionary } => {
                    has_dictionary |= *is_dictionary;
                    let taken = piece.len().min(*left);
                    *left -= taken;
                    piece = &piece[taken..];
                    if *left == 0 {
                        self.state = State::default();
                    }
                }
                State::Ended | State::NoStream => return Ok(has_dictionary),
            }
        }
        Ok(has_dictionary)
    }
}

fn after_length(bytes: [u8; 4]) -> State {
    if bytes == CONTINUATION {
        return State::default();
    }
    match usize::try_from(i32::from_le_bytes(bytes)) {
        Ok(0) => State::Ended,
        Err(_) => State::NoStream,
        Ok(length) => State::Metadata(Vec::new(), length),
    }
}

/// What is no message is left to the decoder.
fn after_metadata(metadata: &[u8], dictionaries: &mut HashMap<i64, usize>) -> Result<State> {
    let Ok(message) = root_as_message(metadata) else { return Ok(State::NoStream) };
    let Ok(body) = usize::try_from(message.bodyLength()) else { return Ok(State::NoStream) };
    let dictionary = message.header_as_dictionary_batch();
    if is_compressed(&message, dictionary.as_ref()) {
        return Err(Error::invalid_argument(
            "a record batch of the Arrow IPC stream is compressed: send it as it is (in pyarrow \
             IpcWriteOptions(compression=None), which is the default)",
        ));
    }
    if let Some(dictionary) = &dictionary {
        if dictionary.isDelta() {
            return Err(Error::invalid_argument(
                "a dictionary of the Arrow IPC stream grows from batch to batch: send each whole (in pyarrow \
                 IpcWriteOptions(emit_dictionary_deltas=False), which is the default), or plain values",
            ));
        }
        dictionaries.insert(dictionary.id(), body);
    }
    let body = State::Body { left: body, is_dictionary: dictionary.is_some() };
    Ok(if matches!(body, State::Body { left: 0, .. }) { State::default() } else { body })
}

fn is_compressed(message: &Message<'_>, dictionary: Option<&DictionaryBatch<'_>>) -> bool {
    let batch = message.header_as_record_batch().or_else(|| dictionary.and_then(DictionaryBatch::data));
    batch.is_some_and(|batch| batch.compression().is_some())
}
