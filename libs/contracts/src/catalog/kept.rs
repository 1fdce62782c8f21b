//! A catalog as one piece of bytes, to be kept: a line that names the format, then the pieces of the catalog, each after its
//! length.

use larder_definitions::Catalog;
use larder_types::{Error, Result};
use prost::Message as _;

use super::{Assembler, whole};
use crate::registry::v1::CatalogPiece;

const FORMAT: &[u8] = b"larder catalog 1\n";

/// The bytes of a catalog.
pub fn encode_kept(catalog: &Catalog) -> Vec<u8> {
    let mut bytes = FORMAT.to_vec();
    for piece in whole(catalog) {
        bytes.extend_from_slice(&piece.encode_length_delimited_to_vec());
    }
    bytes
}

/// The catalog of bytes that [`encode_kept`] made. DATA_LOSS for others.
pub fn decode_kept(bytes: &[u8]) -> Result<Catalog> {
    let damaged = |what: &str| Error::data_loss(format!("this is not a catalog that was kept here ({what})"));
    let mut rest = bytes.strip_prefix(FORMAT).ok_or_else(|| damaged("another format"))?;
    let mut assembler = Assembler::whole(None);
    while !rest.is_empty() {
        let piece = CatalogPiece::decode_length_delimited(&mut rest).map_err(|error| damaged(&error.to_string()))?;
        if let Some(catalog) = assembler.add(piece)? {
            return if rest.is_empty() { Ok(catalog) } else { Err(damaged("too long")) };
        }
    }
    Err(damaged("cut short"))
}
