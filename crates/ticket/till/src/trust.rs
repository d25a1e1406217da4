//! Which sellers' signatures count here.

use cloudpal_form::{Keyset, Route, Seller, SellerError};
use rusqlite::{OptionalExtension, params};

use crate::store::StoreError;
use crate::till::Till;

/// Why a seller could not be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It gave no keyset: trusting it would change nothing.
    #[error("the seller at {0} has no keyset for compute-minutes: check the address")]
    NoKeyset(String),
    /// Another trusted seller has the same keyset, so one of them is not who it says.
    #[error("keyset {keyset} of {seller} belongs to {other} already: compare both sellers' keys")]
    Taken {
        /// The keyset.
        keyset: String,
        /// The seller named now.
        seller: String,
        /// The seller trusted before.
        other: String,
    },
    /// The records.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Fetches a seller's keysets, once, for [`Till::trust`]. Blocks.
pub fn fetch_keysets(url: &str) -> Result<Vec<Keyset>, SellerError> {
    Seller::new(url, &Route::Direct)?.keysets()
}

impl Till {
    /// Trusts the seller at `url` with `keysets`, stored so that checking needs no network.
    ///
    /// Keysets trusted before stay trusted: a seller that rotates still redeems what it signed. Their
    /// keys cannot change, for a keyset's id is a digest of them.
    pub fn trust(&self, url: &str, keysets: &[Keyset]) -> Result<(), TrustError> {
        let url = url.trim_end_matches('/');
        if keysets.is_empty() {
            return Err(TrustError::NoKeyset(url.to_owned()));
        }
        let sqlite = |source| TrustError::Store(self.store.sqlite(source));
        self.store.write(|rows| {
            for keyset in keysets {
                let id = keyset.id().to_string();
                let known: Option<String> = rows
                    .query_row("SELECT seller FROM keyset WHERE id = ?1", [&id], |row| row.get(0))
                    .optional()
                    .map_err(sqlite)?;
                if let Some(other) = known.filter(|known| known != url) {
                    return Err(TrustError::Taken { keyset: id, seller: url.to_owned(), other });
                }
                rows.execute(
                    "INSERT OR REPLACE INTO keyset (id, seller, json) VALUES (?1, ?2, ?3)",
                    params![id, url, keyset.to_json()],
                )
                .map_err(sqlite)?;
            }
            Ok(())
        })
    }

    /// The addresses of all trusted sellers.
    pub fn sellers(&self) -> Result<Vec<String>, StoreError> {
        self.store.read(|rows| {
            rows.prepare("SELECT DISTINCT seller FROM keyset ORDER BY seller")?
                .query_map([], |row| row.get(0))?
                .collect()
        })
    }

    /// The trusted keyset named `id`, with its seller's address.
    pub(crate) fn keyset(&self, id: &str) -> Result<Option<(String, Keyset)>, StoreError> {
        let found: Option<(String, String)> = self.store.read(|rows| {
            rows.query_row("SELECT seller, json FROM keyset WHERE id = ?1", [id], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
        })?;
        found
            .map(|(seller, json)| {
                let keyset = Keyset::from_json(&json).map_err(|_| self.store.damaged("keyset"))?;
                Ok((seller, keyset))
            })
            .transpose()
    }
}
