//! A bare HTTP server, to measure what the HTTP stack alone costs.
//!
//! It answers every GET as `GET /v1/kv/{key}` answers for a value of 100 bytes, and every PUT as
//! `PUT /v1/kv/{key}` does: the same status, headers and body, with hyper set up the same way. It
//! checks nothing and stores nothing. The difference between this and the server under the same load
//! is what checks, pool and engine cost.
//!
//! ```text
//! cargo run --release -p lsm-server --example bare -- 127.0.0.1:8081
//! wrk -t1 -c32 -d10s http://127.0.0.1:8081/v1/kv/a
//! ```

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

const VALUE: &[u8] = &[b'v'; 100];

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8081".to_owned());
    let listener = TcpListener::bind(&address).await?;
    println!("bare listening on http://{}", listener.local_addr()?);
    serve(listener).await
}

/// Answers whoever comes. A test holds the answers against those of the server.
pub(crate) async fn serve(listener: TcpListener) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        if stream.set_nodelay(true).is_err() {
            // The peer is gone already; the others are still measured.
            continue;
        }
        tokio::spawn(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(60))
                .half_close(true)
                .max_headers(64)
                .max_header_size(64 << 10)
                .max_buf_size(64 << 10)
                .serve_connection(TokioIo::new(stream), service_fn(answer)),
        );
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_put = *request.method() == Method::PUT;
    let mut body = request.into_body();
    while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
    let mut response = Response::builder()
        .header("etag", "\"42\"")
        .header("x-lsm-seq", "42")
        .header("x-content-type-options", "nosniff")
        .header("cache-control", "no-store")
        .header("content-security-policy", "default-src 'none'; sandbox")
        .header("cross-origin-resource-policy", "same-origin");
    response = if is_put {
        response.status(StatusCode::NO_CONTENT).header("x-lsm-durability", "sync")
    } else {
        response.header("content-type", "application/octet-stream")
    };
    let body = if is_put { Bytes::new() } else { Bytes::from_static(VALUE) };
    Ok(response.body(Full::new(body)).expect("these headers are well formed"))
}
