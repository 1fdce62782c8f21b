//! Whether a stream has compressed bodies. One of kilobytes may become gigabytes where it is decoded, so each message is
//! looked at before the decoder has it. Framing: Arrow columnar format, "Encapsulated message format".

use arrow::ipc::{Message, root_as_message};

/// What stands before a message's length since Arrow 0.15.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Follows the frames of a stream, whose pieces may be cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Frames {
    state: State,
}

#[derive(Debug)]
enum State {
    /// The length of a message's metadata, or the continuation before it.
    Length([u8; 4], usize),
    /// Metadata, of which so many bytes are wanted.
    Metadata(Vec<u8>, usize),
    /// So many bytes of a body are still to come.
    Body(usize),
    /// The stream has ended, or is none: the decoder says so.
    Over,
}

impl Default for State {
    fn default() -> Self {
        Self::Length([0; 4], 0)
    }
}

impl Frames {
    /// Whether a message whose metadata ends in this piece has a compressed body.
    pub(super) fn find_compressed(&mut self, mut piece: &[u8]) -> bool {
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
                        let message = root_as_message(metadata);
                        if message.as_ref().is_ok_and(is_compressed) {
                            return true;
                        }
                        let body = message.ok().and_then(|message| usize::try_from(message.bodyLength()).ok());
                        self.state = match body {
                            Some(0) => State::default(),
                            Some(bytes) => State::Body(bytes),
                            None => State::Over,
                        };
                    }
                }
                State::Body(left) => {
                    let taken = piece.len().min(*left);
                    *left -= taken;
                    piece = &piece[taken..];
                    if *left == 0 {
                        self.state = State::default();
                    }
                }
                State::Over => return false,
            }
        }
        false
    }
}

fn after_length(bytes: [u8; 4]) -> State {
    if bytes == CONTINUATION {
        return State::default();
    }
    match usize::try_from(i32::from_le_bytes(bytes)) {
        Ok(0) | Err(_) => State::Over,
        Ok(length) => State::Metadata(Vec::new(), length),
    }
}

fn is_compressed(message: &Message<'_>) -> bool {
    let dictionary = || message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
    let batch = message.header_as_record_batch().or_else(dictionary);
    batch.is_some_and(|batch| batch.compression().is_some())
}
