// The lines at the bottom of a terminal that are redrawn (a progress bar), and the lines that scroll above them.
// Any thread may call it; there is one per process, because there is one standard error.
#pragma once

#include <string>

namespace rosa::launch {

// Draws `text`, one line or several with line ends between them, over what is drawn. Each must be shorter than the
// terminal is wide. The cursor waits on the first of several, so that what others write there goes above the rest.
void draw_terminal_line(const std::string& text);

// Removes it.
void clear_terminal_line();

// Writes a line that stays, above the redrawn ones. The console of base::start_log.
void write_above_terminal_line(const std::string& line);

}  // namespace rosa::launch
