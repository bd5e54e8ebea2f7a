// The one line at the bottom of a terminal that is redrawn (a progress bar), and the lines that scroll above it.
// Any thread may call it; there is one per process, because there is one standard error.
#pragma once

#include <string>

namespace rosa::launch {

// Draws `text` over the present line.
void draw_terminal_line(const std::string& text);

// Removes it.
void clear_terminal_line();

// Writes a line that stays, above the redrawn one. The console of base::start_log.
void write_above_terminal_line(const std::string& line);

}  // namespace rosa::launch
