// Four columns of a row of Winograd's products, in the block layout. Each block holds 36 products, and each product
// its rows. Requires the parameters channels, block and step.

struct Cell {
    channel: u32,
    // Index of the quad of columns over all blocks.
    number: u32,
    // Position in the first product.
    at: u32,
}

fn cell(i: u32) -> Cell {
    let row = quotient(i, params.block);
    let block = quotient(row, params.channels);
    let channel = row - block * params.channels;
    let inner = i - row * params.block;
    let at = block * 36u * params.step + channel * params.block + inner;
    return Cell(channel, block * params.block + inner, at);
}
