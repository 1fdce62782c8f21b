//! larder-online-store
