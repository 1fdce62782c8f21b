//! larder-codec
