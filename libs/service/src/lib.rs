//! larder-service
