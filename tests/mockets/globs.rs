//! `use ringpair::mocket::*` beside the traits of the faces: this compiles.

mod with_std {
    use std::io::{Read, Write};

    use ringpair::mocket::*;

    #[test]
    fn a_glob_leaves_std_calls_unambiguous() {
        let mut mocket = Mocket::scripted(Script::new().provide("1").expect("a"));
        let mut read = [0; 1];
        assert_eq!(mocket.read(&mut read).unwrap(), 1);
        assert_eq!(mocket.write(b"a").unwrap(), 1);
        mocket.close().unwrap();
    }
}

#[cfg(feature = "tokio")]
mod with_tokio {
    use ringpair::mocket::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn a_glob_leaves_tokio_calls_unambiguous() {
        crate::faces::tokio_runtime().block_on(async {
            let mut mocket = Mocket::scripted(Script::new().provide("1").expect("ab").expect_shutdown());
            let mut read = [0; 1];
            assert_eq!(mocket.read(&mut read).await.unwrap(), 1);
            assert_eq!(mocket.write(b"a").await.unwrap(), 1);
            mocket.write_all(b"b").await.unwrap();
            mocket.shutdown().await.unwrap();
            mocket.close().unwrap();
        });
    }
}

#[cfg(feature = "smol")]
mod with_smol {
    use futures_util::{AsyncReadExt, AsyncWriteExt};
    use ringpair::mocket::*;

    #[test]
    fn a_glob_leaves_futures_calls_unambiguous() {
        futures_executor::block_on(async {
            let mut mocket = Mocket::scripted(Script::new().provide("1").expect("ab").expect_shutdown());
            let mut read = [0; 1];
            assert_eq!(mocket.read(&mut read).await.unwrap(), 1);
            assert_eq!(mocket.write(b"a").await.unwrap(), 1);
            mocket.write_all(b"b").await.unwrap();
            AsyncWriteExt::close(&mut mocket).await.unwrap(); // by name: a mocket has a `close` of its own
            mocket.close().unwrap();
        });
    }
}

#[cfg(feature = "compio")]
mod with_compio {
    use compio_io::{AsyncRead, AsyncWrite, AsyncWriteExt};
    use ringpair::mocket::*;

    #[test]
    fn a_glob_leaves_compio_calls_unambiguous() {
        futures_executor::block_on(async {
            let mut mocket = Mocket::scripted(Script::new().provide("1").expect("ab").expect_shutdown());
            assert_eq!(mocket.read([0; 1]).await.0.unwrap(), 1);
            assert_eq!(mocket.write("a").await.0.unwrap(), 1);
            mocket.write_all("b").await.0.unwrap();
            mocket.shutdown().await.unwrap();
            mocket.close().unwrap();
        });
    }
}

#[cfg(feature = "monoio")]
mod with_monoio {
    use monoio::io::{AsyncReadRent, AsyncReadRentExt, AsyncWriteRent, AsyncWriteRentExt};
    use ringpair::mocket::*;

    #[test]
    fn a_glob_leaves_monoio_calls_unambiguous() {
        futures_executor::block_on(async {
            let mut mocket = Mocket::scripted(Script::new().provide("1").provide("2").expect("ab").expect_shutdown());
            assert_eq!(mocket.read(vec![0; 1]).await.0.unwrap(), 1);
            assert_eq!(mocket.read_exact(vec![0; 1]).await.0.unwrap(), 1);
            assert_eq!(mocket.write(b"a".to_vec()).await.0.unwrap(), 1);
            mocket.write_all(b"b".to_vec()).await.0.unwrap();
            mocket.shutdown().await.unwrap();
            mocket.close().unwrap();
        });
    }
}
