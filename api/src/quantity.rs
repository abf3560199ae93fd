//! Kubernetes quantities: the one place that reads them.

/// `1Gi`, `512M`, `1e9`, `1073741824`, `100m`; rounded up to whole bytes. `None` when it is no quantity, or below zero.
pub fn bytes(text: &str) -> Option<u64> {
    if let Ok(whole) = text.trim().parse::<u64>() {
        return Some(whole);
    }
    amount(text).filter(|value| *value >= 0.0).map(|value| value.ceil() as u64)
}

/// A quantity of anything as a number: bytes, pods, cores. `None` when it is none.
pub fn amount(text: &str) -> Option<f64> {
    let text = text.trim();
    const UNITS: [(&str, f64); 14] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("m", 0.001),
        ("k", 1e3),
        ("K", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let unit = UNITS.iter().find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number, *factor)));
    let (number, factor) = unit.unwrap_or((text, 1.0));
    let number: f64 = number.parse().ok()?;
    Some(number * factor).filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_quantity_is_understood() {
        assert_eq!(bytes("10Gi"), Some(10 << 30));
        assert_eq!(bytes("1073741824"), Some(1 << 30));
        assert_eq!(bytes("1.5G"), Some(1_500_000_000));
        assert_eq!(bytes("1e3"), Some(1000));
        assert_eq!(bytes("1500m"), Some(2));
        assert_eq!(bytes("big"), None);
        assert_eq!(bytes("-1Gi"), None);
        assert_eq!(amount("250m"), Some(0.25));
        assert_eq!(amount("nan"), None);
    }
}
