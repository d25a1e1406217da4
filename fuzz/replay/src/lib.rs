//! # Fuzz targets as plain functions
//!
//! The targets in `fuzz/fuzz_targets` are written for libFuzzer, which guides itself by the code that an input reaches
//! (`cargo xtask fuzz`). This crate takes the place of `libfuzzer_sys` and turns each into a function of bytes, so that
//! its test drives the same files on a plain compiler: every input of the committed corpus, then a fixed number of
//! mutations of them that follow from a seed. It knows nothing of what the targets test.
//!
//! ```
//! libfuzzer_sys::fuzz_target!(|text: &str| {
//!     assert!(text.trim().len() <= text.len());
//! });
//! # fn main() {
//! run(b" hello ");
//! let mut mutator = libfuzzer_sys::Mutator::new(7);
//! let corpus = [b"hello".to_vec(), b"world".to_vec()];
//! run(&mutator.next(&corpus));
//! # }
//! ```

mod mutate;

pub use arbitrary;
pub use mutate::Mutator;

/// Makes `pub fn run(bytes: &[u8])` of a target's body. Bytes become other types as libFuzzer's macro does it.
#[macro_export]
macro_rules! fuzz_target {
    (|$input:ident| $body:expr) => {
        $crate::fuzz_target!(|$input: &[u8]| $body);
    };
    (|$input:ident: &[u8]| $body:expr) => {
        /// The target.
        pub fn run($input: &[u8]) {
            $body
        }
    };
    (|$input:ident: $kind:ty| $body:expr) => {
        /// The target.
        pub fn run(bytes: &[u8]) {
            let bytes = $crate::arbitrary::Unstructured::new(bytes);
            let Ok($input) = <$kind as $crate::arbitrary::Arbitrary>::arbitrary_take_rest(bytes) else {
                return;
            };
            $body
        }
    };
}
