//! larder-definitions
