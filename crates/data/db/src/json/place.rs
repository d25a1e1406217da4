//! Places between the elements of an array: byte strings that sort between their neighbours and are never made twice.

/// A place behind `low` and before `high` (none: no bound). `own` makes it different from any that someone else makes there: it
/// must never be given twice, and not end with a zero.
pub(super) fn between(low: &[u8], high: Option<&[u8]>, own: &[u8]) -> Vec<u8> {
    let mut place = Vec::with_capacity(low.len() + own.len() + 1);
    let mut bound = high;
    for at in 0.. {
        let from = u16::from(low.get(at).copied().unwrap_or(0));
        let to = bound.map_or(256, |high| u16::from(high.get(at).copied().unwrap_or(0)));
        if to > from + 1 {
            // A small step, as most is added at the end.
            place.push((from + ((to - from) / 2).min(8)) as u8);
            break;
        }
        place.push(from as u8);
        if to > from {
            bound = None;
        }
    }
    place.extend_from_slice(own);
    place
}

#[cfg(test)]
mod tests {
    use super::between;

    #[test]
    fn lies_between_wherever_one_asks() {
        let mut places: Vec<Vec<u8>> = vec![];
        let mut state = 1_u64;
        for turn in 0..2_000_u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 33) as usize % (places.len() + 1);
            let low = at.checked_sub(1).map_or(&[][..], |at| &places[at]);
            let own = [&turn.to_be_bytes()[..], &[1]].concat();
            let place = between(low, places.get(at).map(Vec::as_slice), &own);
            places.insert(at, place);
        }
        assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
        let mut at_one_spot = [vec![1_u8, 1], vec![2, 1]];
        for turn in 0..500_u32 {
            let own = [&turn.to_be_bytes()[..], &[1]].concat();
            let place = between(&at_one_spot[0], Some(&at_one_spot[1]), &own);
            assert!(at_one_spot[0] < place && place < at_one_spot[1]);
            at_one_spot[1] = place;
        }
    }
}
