# frozen_string_literal: true

module TaskerCore
  # Version of the gem.
  VERSION = '0.1.0'
end
