use std::cmp::Ordering;

/// What a search among the sorted keys of a node looks at first: what they all begin with, once, and the next eight bytes
/// of each as a number. Keys themselves lie all over the memory, so most of the time of a search would go into waiting
/// for them.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    prefix: Vec<u8>,
    heads: Vec<u64>,
}

impl Keys {
    /// Of keys in rising order.
    pub fn new<'a>(keys: impl DoubleEndedIterator<Item = &'a [u8]> + Clone) -> Self {
        let (first, last) =
            (keys.clone().next().unwrap_or_default(), keys.clone().next_back().unwrap_or_default());
        let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        let heads = keys.map(|key| head(&key[shared..])).collect();
        Keys { prefix: first[..shared].to_vec(), heads }
    }

    /// The place of a key, or where it would be; `at` gives the keys.
    pub fn find<'a>(&self, key: &[u8], at: impl Fn(usize) -> &'a [u8]) -> Result<usize, usize> {
        let Some(rest) = key.strip_prefix(&self.prefix[..]) else {
            return Err(if key < &self.prefix[..] { 0 } else { self.heads.len() });
        };
        let wanted = head(rest);
        let mut low = self.heads.partition_point(|head| *head < wanted);
        let mut high = low + self.heads[low..].partition_point(|head| *head == wanted);
        while low < high {
            let middle = low.midpoint(high);
            match at(middle).cmp(key) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Notes that `key` is now at `place`. False when it does not begin like the others: then they must be made anew.
    #[must_use]
    pub fn insert(&mut self, place: usize, key: &[u8]) -> bool {
        let rest = key.strip_prefix(&self.prefix[..]);
        rest.inspect(|rest| self.heads.insert(place, head(rest))).is_some()
    }
}

/// The first eight bytes, zeros where there are fewer: lesser numbers are lesser keys, equal ones say nothing.
fn head(key: &[u8]) -> u64 {
    match key.first_chunk() {
        Some(eight) => u64::from_be_bytes(*eight),
        None => {
            let mut eight = [0; 8];
            eight[..key.len()].copy_from_slice(key);
            u64::from_be_bytes(eight)
        }
    }
}
