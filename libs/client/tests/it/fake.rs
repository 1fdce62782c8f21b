//! What the scripted servers share.

use std::convert::Infallible;

use larder_client::Transport;
use larder_types::Name;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{body::Body, server::NamedService, transport::Server};
use tower::Service;

/// Methods that a script says nothing of, as `async_trait` would write them.
macro_rules! silent {
    ($($method:ident($request:ty) -> $response:ty;)*) => {$(
        fn $method<'life0, 'async_trait>(
            &'life0 self,
            _: tonic::Request<$request>,
        ) -> futures::future::BoxFuture<'async_trait, Result<tonic::Response<$response>, tonic::Status>>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(std::future::ready(Err(tonic::Status::unimplemented("not in the script"))))
        }
    )*};
}

pub(crate) use silent;

/// A transport to `server` in process, and one over a socket.
pub(crate) async fn both_ways<S>(server: S) -> [Transport; 2]
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Server::builder().add_service(server.clone()).serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serve);
    [Transport::in_process(server), Transport::connect(&address.to_string()).unwrap()]
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}
