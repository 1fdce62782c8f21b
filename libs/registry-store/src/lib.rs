//! larder-registry-store
