//! larder-materializer
