"""Engines that jinavec calls."""
