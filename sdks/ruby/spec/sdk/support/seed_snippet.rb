# frozen_string_literal: true

# The Ruby handler of the chapter "Class-Based Handlers", exactly as it is written there.
module SeedSnippet
  PATH = File.expand_path('../../../../../tests/seed/class-based-handlers.txt', __dir__)

  def self.source
    chapter = File.read(PATH, encoding: 'UTF-8')
    chapter[/^Ruby\n\n(require 'tasker_core'\n.*?^end\n)\nTypeScript$/m, 1] || raise("no Ruby snippet in #{PATH}")
  end

  def self.handler_class
    evaluate unless Object.const_defined?('Handlers::ProcessOrderHandler')
    Object.const_get('Handlers::ProcessOrderHandler')
  end

  # Ruby warns of the chapter's unused variable.
  def self.evaluate
    verbose = $VERBOSE
    $VERBOSE = nil
    TOPLEVEL_BINDING.eval(source, PATH)
  ensure
    $VERBOSE = verbose
  end
  private_class_method :evaluate
end
