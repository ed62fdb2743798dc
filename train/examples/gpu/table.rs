//! Tables in Markdown, columns as wide as they have to be.

/// `rows` under `head`; the first column to the left, the others to the right.
pub fn print(head: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(String::as_str);
        cells.chain([head[column]]).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().enumerate().map(|(i, cell)| match i {
            0 => format!("{cell:<0$}", width(i)),
            _ => format!("{cell:>0$}", width(i)),
        });
        println!("| {} |", padded.collect::<Vec<_>>().join(" | "));
    };
    line(head.to_vec());
    let rule = |i: usize| "-".repeat(width(i) + 1) + if i == 0 { "-" } else { ":" };
    println!("|{}|", (0..head.len()).map(rule).collect::<Vec<_>>().join("|"));
    for row in rows {
        line(row.iter().map(String::as_str).collect());
    }
}
