"""What every test that speaks DDS is given."""

from ros_context import eventually, ros

__all__ = ['eventually', 'ros']
