"""What users log - numbers, dates, frames, nested mappings of any library - as plain values and text."""
