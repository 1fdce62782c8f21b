//! larder-push-ingest
