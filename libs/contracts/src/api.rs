//! The generated messages, clients and servers, nested as their packages are.

#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes,
    reason = "generated code; what it means is written in proto/"
)]

/// `larder.types`
pub mod types {
    /// `larder.types.v1`
    pub mod v1 {
        tonic::include_proto!("larder.types.v1");
    }
}

/// `larder.registry`
pub mod registry {
    /// `larder.registry.v1`
    pub mod v1 {
        tonic::include_proto!("larder.registry.v1");
    }
}

/// `larder.serving`
pub mod serving {
    /// `larder.serving.v1`
    pub mod v1 {
        tonic::include_proto!("larder.serving.v1");
    }
}

/// `larder.push`
pub mod push {
    /// `larder.push.v1`
    pub mod v1 {
        tonic::include_proto!("larder.push.v1");
    }
}

/// `larder.materializer`
pub mod materializer {
    /// `larder.materializer.v1`
    pub mod v1 {
        tonic::include_proto!("larder.materializer.v1");
    }
}
