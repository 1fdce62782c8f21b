//! larder-offline-store
