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
