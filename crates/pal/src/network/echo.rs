//! UDP echo on the overlay, port 7 (RFC 862), which counts numbered datagrams: bytes 0 to 7 name a run,
//! bytes 8 to 15 are a number (big endian). So a test can see what arrived in the pal itself.

use cloudpal_protocol::inside::EchoCount;
use std::collections::VecDeque;

/// Runs that are remembered.
const RUNS: usize = 8;
/// Greater numbers are echoed, not counted: bounds the memory of a run to 128 KiB.
const NUMBERS: u64 = 1 << 20;

/// Counts of the latest runs.
#[derive(Debug, Default)]
pub struct Echo {
    runs: VecDeque<Run>,
}

#[derive(Debug)]
struct Run {
    id: [u8; 8],
    count: EchoCount,
    greatest: u64,
    seen: Vec<u64>,
}

impl Echo {
    /// Counts one datagram, if it is numbered.
    pub fn count(&mut self, datagram: &[u8]) {
        let Some((id, rest)) = datagram.split_first_chunk::<8>() else { return };
        let Some(number) = rest.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes)) else { return };
        if number < NUMBERS {
            self.run(*id).count(number);
        }
    }

    /// What was counted for a run.
    pub fn of(&self, id: [u8; 8]) -> EchoCount {
        self.runs.iter().find(|run| run.id == id).map(|run| run.count).unwrap_or_default()
    }

    fn run(&mut self, id: [u8; 8]) -> &mut Run {
        let at = self.runs.iter().position(|run| run.id == id);
        let at = at.unwrap_or_else(|| {
            if self.runs.len() == RUNS {
                self.runs.pop_front();
            }
            self.runs.push_back(Run { id, count: EchoCount::default(), greatest: 0, seen: Vec::new() });
            self.runs.len() - 1
        });
        &mut self.runs[at]
    }
}

impl Run {
    fn count(&mut self, number: u64) {
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        self.count.received += 1;
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit;
            self.count.distinct += 1;
        }
        if number < self.greatest {
            self.count.reordered += 1;
        }
        self.greatest = self.greatest.max(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(run: u8, number: u64) -> Vec<u8> {
        [[run; 8], number.to_be_bytes()].concat()
    }

    #[test]
    fn counts_lost_doubled_and_late_ones() {
        let mut echo = Echo::default();
        for number in [0, 1, 3, 2, 3, 70] {
            echo.count(&datagram(1, number));
        }
        echo.count(b"short");
        echo.count(&datagram(1, u64::MAX));
        assert_eq!(echo.of([1; 8]), EchoCount { received: 6, distinct: 5, reordered: 1 });
        assert_eq!(echo.of([2; 8]), EchoCount::default());
    }

    #[test]
    fn forgets_the_oldest_run() {
        let mut echo = Echo::default();
        for run in 0..=RUNS as u8 {
            echo.count(&datagram(run, 5));
        }
        assert_eq!(echo.of([0; 8]).received, 0);
        assert_eq!(echo.of([1; 8]).received, 1);
        assert_eq!(echo.runs.len(), RUNS);
    }
}
