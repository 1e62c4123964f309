"""Interfaces through which others call jinavec."""
