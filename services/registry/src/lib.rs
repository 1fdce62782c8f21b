//! larder-registry
