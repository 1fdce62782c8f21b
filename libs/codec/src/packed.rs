//! Many byte strings in one buffer.

use bytes::Bytes;

/// Byte strings laid end to end, found by number. Cheap to clone and to slice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Packed {
    bytes: Bytes,
    /// Where each ends, and the next begins.
    ends: Vec<usize>,
}

impl Packed {
    pub(crate) fn new(bytes: Vec<u8>, ends: Vec<usize>) -> Self {
        debug_assert_eq!(bytes.len(), ends.last().copied().unwrap_or(0));
        Self { bytes: bytes.into(), ends }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn get(&self, index: usize) -> &[u8] {
        &self.bytes[self.span(index)]
    }

    pub(crate) fn slice(&self, index: usize) -> Bytes {
        self.bytes.slice(self.span(index))
    }

    fn span(&self, index: usize) -> std::ops::Range<usize> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        start..self.ends[index]
    }
}
