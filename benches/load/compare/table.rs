//! How figures are shown: as Markdown that reads well without being rendered.

/// A table with its first column to the left and numbers to the right.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([heads[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| match column {
                0 => format!("| {cell:<width$} "),
                _ => format!("| {cell:>width$} "),
            });
        padded.collect::<String>() + "|\n"
    };
    let rule = |(column, width): (usize, &usize)| match column {
        0 => "-".repeat(*width),
        _ => "-".repeat(width - 1) + ":",
    };
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let rules: Vec<String> = widths.iter().enumerate().map(rule).collect();
    [heads, rules]
        .iter()
        .chain(rows)
        .map(|cells| line(cells))
        .collect()
}

/// Three figures of a number that is measured, with commas between thousands.
pub(super) fn rounded(value: f64) -> String {
    if value < 99.95 {
        let decimals = if value < 9.995 { 2 } else { 1 };
        return format!("{value:.decimals$}");
    }
    let unit = 10_f64.powi(value.log10().floor() as i32 - 2);
    let digits = format!("{:.0}", (value / unit).round() * unit);
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
