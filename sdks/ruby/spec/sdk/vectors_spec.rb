# frozen_string_literal: true

require_relative 'support/seed_snippet'
require_relative 'support/fixture_handlers'
require_relative 'support/vector'
require_relative 'support/operations'
require_relative 'support/captured_log'

RSpec.describe 'conformance vectors' do
  include_context 'with a captured log'

  vectors = Vector.all

  vectors.each do |vector|
    it vector.id do
      if vector.fails?
        expect { Operations.perform(vector) }.to(raise_error { |error| expect(error).not_to be_a(NameError) })
      else
        expect(vector.complaint(Operations.perform(vector))).to be_nil
      end
    end
  end

  it 'has vectors of every area' do
    expect(vectors.map(&:area).uniq).to include(*%w[C R E P B K A X G V T J])
  end

  it 'notices a result that is not the expected one' do
    vector = vectors.find { |each| each.id == 'C08' }
    expect(vector.complaint(3.0)).to be_nil
    expect(vector.complaint(4)).to include('3 expected, got 4')
  end
end
