//! The binary format of `COPY`: a header, then for each row the count of its
//! columns and for each cell its length and bytes, and a count of -1 at the end.
//! All numbers are big-endian.

/// With what each header begins.
pub const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// The signature, no flags, and no extension of the header.
pub const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// The length of a cell that is null.
pub const NULL_LENGTH: i32 = -1;
/// The count of columns behind the last row.
pub const END: i16 = -1;

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;
    use sqlx::postgres::PgPoolCopyExt as _;

    use super::*;
    use crate::database_url::DatabaseUrl;
    use crate::test_database::postgres;

    #[tokio::test]
    async fn a_server_sends_the_format() {
        let DatabaseUrl::Postgres(url) = postgres().await else {
            panic!("it is a PostgreSQL database");
        };
        let pool = sqlx::PgPool::connect(url.reveal()).await.unwrap();
        let copy = "COPY (SELECT NULL::text, 'four') TO STDOUT (FORMAT BINARY)";
        let sent = pool.copy_out_raw(copy).await.unwrap();
        let sent: Vec<u8> = sent
            .try_fold(Vec::new(), async |mut all, message| {
                all.extend(message);
                Ok(all)
            })
            .await
            .unwrap();
        let expected = [
            HEADER,
            &2_i16.to_be_bytes(),
            &NULL_LENGTH.to_be_bytes(),
            &4_i32.to_be_bytes(),
            b"four",
            &END.to_be_bytes(),
        ];
        assert_eq!(sent, expected.concat());
        assert!(HEADER.starts_with(SIGNATURE));
    }
}
