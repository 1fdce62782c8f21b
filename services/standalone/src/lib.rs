//! larder-standalone
